#!/usr/bin/env bash
# Writes requirements/<extra>.txt anew: every package pinned with its hashes, torch and its CUDA packages left out.
# Needs uv (`pip install uv`). A maintainer's tool: installing uses pip alone.
set -euo pipefail
cd "$(dirname "$0")/.."
leave_out=(torch torchvision triton)
for package in $(uv pip compile -q --python-version 3.11 -c requirements/torch.txt --extra worker pyproject.toml |
                 sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+)(\[.*\])?==.*/\1/p'); do leave_out+=("$package"); done
for extra in gateway worker inference inference-gpu local s3 traces dev; do
  uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
    -c requirements/torch.txt ${leave_out[@]/#/--no-emit-package=} --extra "$extra" -o "requirements/$extra.txt" pyproject.toml
done
