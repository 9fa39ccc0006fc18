#!/bin/sh
# `make claude` and `make codex`: starts a coding agent of yours, with its calls going through the gateway that runs on
# this machine. The first argument is a name that `luthien client-env` knows; the others go to the agent. It starts in
# the current folder, with your login and your settings.
set -eu

client=$1
shift
luthien=${LUTHIEN:-$(dirname "$0")/../target/local/luthien}

case $client in
claude-code) program=claude package=@anthropic-ai/claude-code ;;
codex) program=codex package=@openai/codex ;;
*)
  echo "error: there is no agent \`$client\` here; claude-code and codex are" >&2
  exit 1
  ;;
esac

[ -x "$luthien" ] || {
  echo "error: Luthien is not built, so the gateway does not run; start it in another terminal with \`make run\`" >&2
  exit 1
}
# Before anything else, because this is what the user has to do first.
environment=$("$luthien" client-env "$client" --running)
command -v "$program" >/dev/null 2>&1 || {
  echo "error: \`$program\` is not installed; install it with \`npm install -g $package\`, then run this again" >&2
  exit 1
}

# Where it goes, and whose key it has.
printf '%s\n' "$environment" | sed -n '1,2s/^# //p' >&2
eval "$environment"
# Codex is a function by now.
"$program" "$@"
