"""Run a downloaded bundle with onnxruntime, numpy and pillow alone: run_bundle_with_onnxruntime.py BUNDLE PICTURE"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

bundle, picture = Path(sys.argv[1]), Path(sys.argv[2])
facts = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
recipe = facts["recipe"]
size, how = (recipe["width"], recipe["height"]), Image.Resampling[recipe["interpolation"].upper()]
image = ImageOps.exif_transpose(Image.open(picture)).convert("L" if recipe["channels"] == 1 else "RGB")
fitted = ImageOps.fit(image, size, how) if recipe["resize"] == "cover" else image.resize(size, how)
pixels = np.asarray(fitted, np.float32).reshape(*size[::-1], recipe["channels"]) / 255
rows = ((pixels - recipe["mean"]) / recipe["std"]).astype(np.float32).transpose(2, 0, 1)[None]
(logits,) = onnxruntime.InferenceSession(bundle / "model.onnx").run(None, {facts["inputs"][0]["name"]: rows})
scores = np.exp((logits[0] - logits[0].max()) / facts["temperature"])
for index in np.argsort(-scores)[:5]:
    print(f"{scores[index] / scores.sum():.4f}  {facts['labels'][index]}")
