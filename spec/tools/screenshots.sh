#!/bin/sh
# screenshots.sh FOLDER - takes the pictures of the guide anew, with Chromium and what drives it in FOLDER.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
BROWSER_MODULES=$(cd "$1" && pwd)
CHROMIUM=$(command -v chromium)
WORK_DIR=$work
export BROWSER_MODULES CHROMIUM WORK_DIR
timeout 120 node spec/pages/pictures.mjs examples/guide/pictures
ls -l examples/guide/pictures
