#!/usr/bin/env bash
# Installs a small Debian 12 into the folder DIR and changes its packages a little. Leaves dpkg's log in
# DIR/var/log/dpkg.log. Needs root and debootstrap; takes about two minutes.
# usage: run.sh DIR
set -euo pipefail

DIR=${1:?usage: run.sh DIR}
# The mirror that this machine uses itself.
MIRROR=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's|/debian/*$||p' | head -n 1)

debootstrap --variant=minbase bookworm "$DIR" "$MIRROR/debian"
echo "deb $MIRROR/debian-security bookworm-security main" >> "$DIR/etc/apt/sources.list"
in_system() { DEBIAN_FRONTEND=noninteractive chroot "$DIR" apt-get -qq -y "$@"; }
in_system update
in_system upgrade
in_system install --no-install-recommends nginx-light apache2-utils git python3 logrotate cron less vim-tiny
in_system remove git
in_system purge --auto-remove nginx-light nginx-common
in_system autoremove
