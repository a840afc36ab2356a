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
# Installs the guest driver of a vGPU and waits for its licence. It does only
# what is not done yet, and never restarts the computer. With the exit code 1002
# cloudbase-init starts it again at the next boot.

$ErrorActionPreference = 'Stop'
# The bar slows downloads down.
$ProgressPreference = 'SilentlyContinue'
$state = Join-Path $env:ProgramData 'nova-vgpu-guest'
$tokenFile = Join-Path $env:ProgramFiles `
    'NVIDIA Corporation\vGPU Licensing\ClientConfigToken\client_configuration_token.tok'
$key = 'HKLM:\SOFTWARE\NVIDIA Corporation\Global\GridLicensing'
$values = 'ServerAddress', 'ServerPort', 'BackupServerAddress', 'BackupServerPort'
$service = 'NVDisplay.ContainerLocalSystem'
$attempts = 10
$licenceSeconds = 180

# One line for the tenant and for the operator.
function Report($kind, $text) {
    $line = "nova-vgpu-guest: ${kind}: $text" -replace '[^\x20-\x7e]', ' '
    [Console]::Out.WriteLine($line)
    try {
        Set-Note 'status' $line
    } catch {
        [Console]::Out.WriteLine("$_")
    }
    try {
        $port = New-Object System.IO.Ports.SerialPort 'COM1', 115200
        $port.WriteTimeout = 2000
        $port.Open()
        $port.WriteLine($line)
        $port.Close()
    } catch {
        # A guest without a serial console is no error.
        Write-Verbose "$_"
    }
}

# What is kept there is run by the administrator: others may only read it.
function New-State {
    New-Item -ItemType Directory -Force -Path $state | Out-Null
    # It may be somebody else's already.
    foreach ($arguments in @(
            @('/setowner', '*S-1-5-32-544', '/T'),
            @('/reset', '/T'),
            @('/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F',
                '*S-1-5-32-544:(OI)(CI)F', '*S-1-5-32-545:(OI)(CI)RX')
        )) {
        icacls $state $arguments | Out-Null
        if ($LASTEXITCODE) {
            throw "$state cannot be kept from others"
        }
    }
}

function Get-Note($name) {
    $path = Join-Path $state "$name.txt"
    if (Test-Path $path) {
        return "$(Get-Content $path)"
    }
    return ''
}

function Set-Note($name, $text) {
    Set-Content -Path (Join-Path $state "$name.txt") -Value $text
}

function Get-Driver($file) {
    # What was asked with a URL may be a secret, and the console is none.
    $shown = $driverUrl.Split('?')[0]
    [Net.ServicePointManager]::SecurityProtocol = 'Tls12'
    for ($n = 1; $n -le $attempts; $n++) {
        try {
            Invoke-WebRequest -UseBasicParsing -TimeoutSec 1800 -Uri $driverUrl `
                -OutFile $file
            break
        } catch {
            if ($n -eq $attempts) {
                throw "the driver cannot be downloaded from $shown, $n attempts: $($_.Exception.Message)"
            }
            Start-Sleep -Seconds ([Math]::Min(60, [Math]::Pow(2, $n)))
        }
    }
    $sum = (Get-FileHash -Algorithm SHA256 -Path $file).Hash.ToLower()
    if ($sum -ne $driverSha256) {
        throw "the driver's SHA-256 is $sum, expected $driverSha256"
    }
}

function Install-Driver {
    Report 'working' 'the driver is being installed'
    $file = Join-Path $state $driverFile
    try {
        Get-Driver $file
        $setup = Start-Process -FilePath $file -ArgumentList '-s', '-n' -Wait -PassThru
    } finally {
        Remove-Item -Force -Path $file -ErrorAction SilentlyContinue
    }
    if ($setup.ExitCode -notin 0, 1) {
        throw "the installer of the driver failed with $($setup.ExitCode)"
    }
    Set-Note 'driver' $driverSha256
    # The licence service has to be restarted for it.
    Set-Note 'licence' ''
    if ($setup.ExitCode -eq 1) {
        throw 'the driver is installed; restart the computer, and the set-up goes on'
    }
}

# Licence files that earlier instructions wrote, in this guest or in the one that
# its image was made of.
function Remove-OldLicence($kind) {
    $before = Get-Note 'kind'
    if ($before -eq $kind) {
        return
    }
    if ($before -eq 'token') {
        Remove-Item -Force -Path $tokenFile -ErrorAction SilentlyContinue
    } elseif ($before -eq 'server') {
        Remove-Values
    }
    Set-Note 'licence' ''
    if ($kind -eq 'no' -and $before) {
        Restart-Service -Name $service -ErrorAction SilentlyContinue
    }
    Set-Note 'kind' $kind
}

function Remove-Values {
    foreach ($name in $values) {
        Remove-ItemProperty -Path $key -Name $name -ErrorAction SilentlyContinue
    }
}

function Set-Token {
    New-Item -ItemType Directory -Force -Path (Split-Path $tokenFile) | Out-Null
    [IO.File]::WriteAllText($tokenFile, $token, [Text.Encoding]::ASCII)
}

function Set-Server {
    # With -Force a key that is there would lose its other values.
    if (-not (Test-Path $key)) {
        New-Item -Force -Path $key | Out-Null
    }
    Remove-Values
    Set-ItemProperty -Path $key -Name ServerAddress -Value $server
    Set-ItemProperty -Path $key -Name ServerPort -Value "$serverPort"
    if ($backup) {
        Set-ItemProperty -Path $key -Name BackupServerAddress -Value $backup
        Set-ItemProperty -Path $key -Name BackupServerPort -Value "$backupPort"
    }
}

function Get-Sum($text) {
    $bytes = [Text.Encoding]::ASCII.GetBytes($text)
    $sum = [Security.Cryptography.SHA256]::Create().ComputeHash($bytes)
    return [BitConverter]::ToString($sum)
}

function Install-Licence {
    $sum = Get-Sum "$token $server $serverPort $backup $backupPort"
    if ((Get-Note 'licence') -ne $sum) {
        if ($token) {
            Set-Token
        } else {
            Set-Server
        }
        Restart-Service -Name $service
        Set-Note 'licence' $sum
    }
    Wait-Licence
}

function Wait-Licence {
    # Older drivers have it in a folder of their own.
    $smi = @(
        (Join-Path $env:SystemRoot 'System32\nvidia-smi.exe'),
        (Join-Path $env:ProgramFiles 'NVIDIA Corporation\NVSMI\nvidia-smi.exe')
    ) | Where-Object { Test-Path $_ } | Select-Object -First 1
    if (-not $smi) {
        throw 'the driver has no nvidia-smi.exe, which tells of the licence'
    }
    $end = (Get-Date).AddSeconds($licenceSeconds)
    do {
        $said = "$(& $smi -q | Select-String 'License Status' | Select-Object -First 1)"
        if ($said -match ':\s*Licensed') {
            return
        }
        Start-Sleep -Seconds 5
    } while ((Get-Date) -lt $end)
    throw "no licence after $licenceSeconds s: $($said.Trim())"
}

try {
    New-State
    $kind = 'no'
    if ($token) {
        $kind = 'token'
    } elseif ($server) {
        $kind = 'server'
    }
    Remove-OldLicence $kind
    if ($driverUrl -and (Get-Note 'driver') -ne $driverSha256) {
        Install-Driver
    }
    if ($kind -eq 'no') {
        Report 'ok' 'the driver is installed; no licence was asked for'
    } else {
        Install-Licence
        Report 'ok' 'the driver is installed and licensed'
    }
} catch {
    Report 'failed' "$($_.Exception.Message)"
    exit 1002
}
