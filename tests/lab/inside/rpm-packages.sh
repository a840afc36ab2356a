#!/bin/sh
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
# rpm-packages.sh FOLDER: grid.rpm there, a repository as Rocky has it, and one
# as EPEL, which the package epel-release makes known.
set -eu
cd "$1"

# repository NAME: the lines that make it known.
repository() {
    printf '%s\n' "[$1]" "name=$1" "baseurl=file://$PWD/$1" gpgcheck=0
}

# package REPOSITORY NAME: with the files of the folder NAME, if there is one.
package() {
    mkdir -p "$2"
    {
        cat <<TEXT
Name: $2
Version: 1
Release: 1
Summary: Nothing
License: None
BuildArch: noarch
Provides: /bin/sh
%description
%install
cp -a $PWD/$2/. %{buildroot}
TEXT
        if [ "$2" = grid ]; then
            printf '%s\n' '%post'
            cat nvidia-driver.run
        fi
        echo '%files'
        find "$2" -type f -printf '/%P\n'
    } >"$2.spec"
    rpmbuild -bb --quiet --define "_rpmdir $PWD/$1" "$2.spec"
}

mkdir -p epel-release/etc/yum.repos.d
repository epel >epel-release/etc/yum.repos.d/epel.repo
for name in gcc make elfutils-libelf-devel epel-release \
    "kernel-devel-$(uname -r)"; do
    package base "$name"
done
package epel dkms
package . grid
mv noarch/grid-*.rpm grid.rpm
createrepo_c --quiet base
createrepo_c --quiet epel
mkdir -p /etc/yum.repos.d
repository base >/etc/yum.repos.d/base.repo
