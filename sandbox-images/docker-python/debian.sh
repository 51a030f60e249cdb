#!/bin/sh
# Makes the root of the image for `--executor docker` from Debian's packages, as a tar archive, for
# machines that cannot reach a registry: debian.sh FILE
#
# `cellblock image pull docker-python` runs it, imports the archive and installs requirements.txt.
set -eu
archive=$1
suite=bookworm
include=python3,python3-pip,ca-certificates

if command -v mmdebstrap >/dev/null; then
    # As root, or as a user with subordinate ids. Manuals and translations are of no use there.
    exec mmdebstrap --variant=minbase --include="$include" \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        "$suite" "$archive"
fi
if command -v debootstrap >/dev/null; then
    # As root only.
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include="$include" "$suite" "$root"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
        "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
    tar -C "$root" --numeric-owner --one-file-system -cf "$archive" .
    exit
fi
echo 'E: neither mmdebstrap nor debootstrap is installed; run `apt-get install mmdebstrap`' >&2
exit 127
