"""LeRobot's own ResNet-10 with random weights: writes them as its `save_pretrained` does, and the features of pictures.

PYTHON tests/helpers/resnet10_peer.py CHECKOUT FOLDER    # FOLDER has pictures.npy, [B, H, W, 3] uint8
"""

import sys
from pathlib import Path

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from resnet_10.configuration_resnet import ResNet10Config  # pyright: ignore[reportMissingImports]
from resnet_10.modeling_resnet import ResNet10  # pyright: ignore[reportMissingImports]

folder = Path(sys.argv[2])
torch.manual_seed(0)
model = ResNet10(ResNet10Config(pooler="avg")).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.05 + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    mean, deviation = (torch.tensor(each).reshape(1, 3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    pictures = torch.from_numpy(np.load(folder / "pictures.npy")).permute(0, 3, 1, 2)
    seen = model((pictures / 255.0 - mean) / deviation).last_hidden_state
model.save_pretrained(folder)
save_file({"seen": seen.contiguous()}, folder / "seen.safetensors")
