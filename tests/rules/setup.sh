#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# ./setup where it cannot help: it says what to do and changes nothing.
. "${top_srcdir:-.}/tests/rules/rule.sh"
XDG_CACHE_HOME=$rule_work/cache
export XDG_CACHE_HOME
cd "$rule_work" || exit 1

"$top_srcdir/setup" >out 2>&1
[ $? -eq 64 ] || rule_breach "setup without a command: not exit 64"
"$top_srcdir/setup" dance >out 2>&1
[ $? -eq 64 ] || rule_breach "setup with an unknown command: not exit 64"
grep -q '^usage: ./setup demo' out || rule_breach "setup with an unknown command: no usage"

# A system without apt-get and dpkg.
mkdir bin
for tool in sh cat chmod cksum comm cp cut dirname env find flock id mkdir nproc rm sed sha256sum sort stat touch tr; do
    ln -s "$(command -v $tool)" bin/$tool
done
PATH=$rule_work/bin "$top_srcdir/setup" check >out 2>&1
[ $? -eq 69 ] || rule_breach "setup without apt-get: not exit 69"
for manager in 'dnf install' 'pacman -S' 'apk add'; do
    grep -q "^  $manager .*protobuf-c" out || rule_breach "setup without apt-get: no packages for $manager"
done

# Missing packages, no root, no sudo: named, not asked for.
printf '#!/bin/sh\nexit 1\n' >bin/dpkg-query
printf '#!/bin/sh\nexit 1\n' >bin/sudo
printf '#!/bin/sh\necho called >>%s/apt-calls\nexit 1\n' "$rule_work" >bin/apt-get
printf '#!/bin/sh\necho 1000\n' >bin/id.new && rm bin/id && mv bin/id.new bin/id
chmod +x bin/dpkg-query bin/sudo bin/apt-get bin/id
PATH=$rule_work/bin "$top_srcdir/setup" demo >out 2>&1
[ $? -eq 77 ] || rule_breach "setup without rights: not exit 77"
grep -q 'apt-get install.*libprotobuf-c-dev' out || rule_breach "setup without rights: does not say what to install"
[ ! -e apt-calls ] || rule_breach "setup without rights: called apt-get"
rule_end 5
