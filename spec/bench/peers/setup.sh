#!/bin/sh
# setup.sh FOLDER - the libraries of other systems that durable functions are measured beside, into FOLDER. What is not
# to be had is named, and left out. PostgreSQL is not installed for it: its package begins to serve at once.
set -u

folder=$1
here=$(cd "$(dirname "$0")" && pwd)
dbos=5.3.0
restate=1.7.12
restate_sdk=1.17.2

mkdir -p "$folder" || exit 1
cp "$here"/*.mjs "$folder"
command -v npm >/dev/null || { echo "DBOS and Restate are left out: no npm" >&2; exit 0; }
cd "$folder" || exit 1
[ -e package.json ] || echo '{ "private": true }' >package.json
[ -e node_modules/@restatedev/restate-sdk ] ||
  npm install --no-audit --no-fund --silent "@dbos-inc/dbos-sdk@$dbos" "@restatedev/restate-server@$restate" \
    "@restatedev/restate-sdk@$restate_sdk" || echo "DBOS and Restate are left out: npm could not bring them" >&2
exit 0
