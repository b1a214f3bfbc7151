#!/bin/sh
# The compiler that Cargo is told to use for the workspace's crates: the real one, which also counts.
exec "$@" -C instrument-coverage
