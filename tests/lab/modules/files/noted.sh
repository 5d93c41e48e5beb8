#!/bin/sh
# Leaves a note, so that `creates` has something to look for.
echo "$1" >"$2"
