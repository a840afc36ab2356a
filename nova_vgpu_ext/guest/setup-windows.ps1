# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
#
# Installs the guest driver of a vGPU and its licence. It does only what is not
# done yet, and never restarts the computer.

$ErrorActionPreference = 'Stop'
$state = Join-Path $env:ProgramData 'nova-vgpu-guest'
New-Item -ItemType Directory -Force -Path $state | Out-Null

function Report($kind, $text) {
    $line = "nova-vgpu-guest: ${kind}: $text"
    Set-Content -Path (Join-Path $state 'status.txt') -Value $line
    Write-Output $line
}

function Fail($text) {
    Report 'failed' $text
    exit 1
}

function Install-Driver {
    $done = Join-Path $state 'driver.txt'
    if ((Test-Path $done) -and ((Get-Content $done) -eq $driverSha256)) {
        return
    }
    Report 'working' 'the driver is being installed'
    $file = Join-Path $state $driverFile
    [Net.ServicePointManager]::SecurityProtocol = 'Tls12'
    $got = $false
    for ($n = 1; -not $got -and $n -le 10; $n++) {
        try {
            Invoke-WebRequest -UseBasicParsing -Uri $driverUrl -OutFile $file
            $got = $true
        } catch {
            Start-Sleep -Seconds ([Math]::Min(60, [Math]::Pow(2, $n)))
        }
    }
    if (-not $got) {
        Fail "the driver cannot be downloaded from $driverUrl, 10 attempts"
    }
    $sum = (Get-FileHash -Algorithm SHA256 -Path $file).Hash.ToLower()
    if ($sum -ne $driverSha256) {
        Remove-Item $file
        Fail "the driver's SHA-256 is $sum, expected $driverSha256"
    }
    $setup = Start-Process -FilePath $file -ArgumentList '-s', '-n' -Wait -PassThru
    Remove-Item $file
    if ($setup.ExitCode -notin 0, 1) {
        Fail "the installer of the driver failed with $($setup.ExitCode)"
    }
    Set-Content -Path $done -Value $driverSha256
}

function Install-Licence {
    if ($token) {
        $folder = Join-Path $env:ProgramFiles `
            'NVIDIA Corporation\vGPU Licensing\ClientConfigToken'
        New-Item -ItemType Directory -Force -Path $folder | Out-Null
        Set-Content -NoNewline -Encoding Ascii -Value $token `
            -Path (Join-Path $folder 'client_configuration_token.tok')
    }
    if ($server) {
        $key = 'HKLM:\SOFTWARE\NVIDIA Corporation\Global\GridLicensing'
        New-Item -Force -Path $key | Out-Null
        Set-ItemProperty -Path $key -Name ServerAddress -Value $server
        Set-ItemProperty -Path $key -Name ServerPort -Value $serverPort
        if ($backup) {
            Set-ItemProperty -Path $key -Name BackupServerAddress -Value $backup
            Set-ItemProperty -Path $key -Name BackupServerPort -Value $backupPort
        }
    }
    if ($token -or $server) {
        Restart-Service -Name NVDisplay.ContainerLocalSystem
    }
}

if ($driverUrl) {
    Install-Driver
}
Install-Licence
Report 'ok' 'the driver is installed; nvidia-smi -q tells of the licence'
