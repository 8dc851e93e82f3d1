#!/bin/sh
# Install what the tests need from the operating system where it is missing and may be installed.
set -eu

for browser in chromium chromium-browser google-chrome; do
    if command -v "$browser" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'Installing chromium for the browser tests ...\n' >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    printf 'No Chromium on the PATH: the browser tests will be skipped (Debian: apt install chromium).\n' >&2
fi
