#!/bin/sh
# Trains the compact model that the package ships, from nothing: makes the sets, runs both phases, writes the file.
# Every step goes on where it was: after a stop or a power cut call it again with the same folder.
#
#   tools/train_compact.sh FOLDER            about six hours on two free cores
#
# SPATIALAVATAR names the program (default: the one on the path); PHASE1, PHASE2 and SETS add options to their commands.
set -eu
folder=${1:?usage: tools/train_compact.sh FOLDER}
program=${SPATIALAVATAR:-spatialavatar}
mkdir -p "$folder/sets" "$folder/runs"

for set in monocular multiview held_out; do
  # Finished sets are left as they are; unfinished ones go on.
  [ -f "$folder/sets/$set/set.json" ] || $program synth "$set" -o "$folder/sets/$set" ${SETS:-}
done

# usage: phase NAME COMMAND OPTION...
phase() {
  run=$folder/runs/$1
  shift
  if [ -f "$run/generator.safetensors" ]; then
    return
  elif [ -f "$run/checkpoint.safetensors" ]; then
    $program train resume "$run"
  else
    rm -rf "$run"
    $program train "$@" --held-out "$folder/sets/held_out" --most-held-out 8 -o "$run"
  fi
}

# shellcheck disable=SC2086  # the options are meant to be split
phase phase1 compact-phase1 --data "$folder/sets/monocular" ${PHASE1:-}
# shellcheck disable=SC2086
phase phase2 compact-phase2 --data "$folder/sets/multiview" "$folder/sets/monocular" --start "$folder/runs/phase1" ${PHASE2:-}
$program train ship "$folder/runs/phase2" -o "$folder/compact.safetensors"
