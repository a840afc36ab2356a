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
# deb-packages.sh FOLDER: grid.deb there, and a repository with dkms.
set -eu
cd "$1"

# package NAME: from the files in the folder NAME.
package() {
    mkdir -p "$1/DEBIAN"
    cat >"$1/DEBIAN/control" <<TEXT
Package: $1
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: Nothing
TEXT
    dpkg-deb --build --root-owner-group "$1" "$1.deb" >/dev/null
}

mkdir -p grid/DEBIAN
install -m 0755 nvidia-driver.run grid/DEBIAN/postinst
package grid
package dkms
{
    dpkg-deb --field dkms.deb
    echo 'Filename: ./dkms.deb'
    echo "Size: $(stat -c %s dkms.deb)"
    echo "SHA256: $(sha256sum <dkms.deb | cut -d ' ' -f 1)"
} >Packages
echo "deb [trusted=yes] file:$PWD ./" >/etc/apt/sources.list.d/test.list
