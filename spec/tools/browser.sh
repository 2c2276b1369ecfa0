#!/bin/sh
# browser.sh FOLDER - what the specs of the browser pages need: Debian's Chromium, and the node modules that drive it
# and look at what it shows, in FOLDER. Without them those specs are skipped, so nothing here is an error.
set -u

folder=$1
playwright=1.65.1
axe=4.14.1

[ -e "$folder/node_modules/playwright-core" ] && [ -e "$folder/node_modules/axe-core" ] &&
  command -v chromium >/dev/null && exit 0
if ! sh "$(dirname "$0")/deps.sh" browser; then
  echo "browser specs will be skipped: no browser"
  exit 0
fi
mkdir -p "$folder" && cd "$folder" || exit 0
[ -e package.json ] || echo '{ "private": true }' >package.json
npm install --no-audit --no-fund --silent "playwright-core@$playwright" "axe-core@$axe" ||
  echo "browser specs will be skipped: npm could not bring what drives the browser"
exit 0
