"""What to learn: one file per algorithm, pure functions over arrays."""

from .awac import AWAC, AWACConfig
from .base import Agent, AgentConfig, HasCritics, HasLikelihood, HasModel
from .bc import BC, BCConfig
from .bcq import BCQ, BCQConfig
from .combo import COMBO, COMBOConfig
from .cql import CQL, CQLConfig
from .dreamer import Dreamer, DreamerConfig
from .dsrl import DSRL, DSRLConfig
from .edit import Edit, EditConfig
from .flow_bc import FlowBC, FlowBCConfig
from .grasp import GraspSAC, GraspSACConfig
from .ibrl import IBRL, IBRLConfig
from .iql import IQL, IQLConfig
from .mpc import MPC, MPCConfig
from .pets import PETS, PETSConfig
from .qc import QC, QCConfig
from .qc_fql import QCFQL, QCFQLConfig
from .sac import SAC, SACConfig
from .td3bc import TD3BC, TD3BCConfig
from .trajectory_transformer import TrajectoryTransformer, TrajectoryTransformerConfig

AGENTS: dict[str, tuple[type, type]] = {
    "sac": (SAC, SACConfig),
    "cql": (CQL, CQLConfig),
    "bc": (BC, BCConfig),
    "td3bc": (TD3BC, TD3BCConfig),
    "iql": (IQL, IQLConfig),
    "awac": (AWAC, AWACConfig),
    "bcq": (BCQ, BCQConfig),
    "ibrl": (IBRL, IBRLConfig),
    "edit": (Edit, EditConfig),
    "sac_grasp": (GraspSAC, GraspSACConfig),
    "flow_bc": (FlowBC, FlowBCConfig),
    "mpc": (MPC, MPCConfig),
    "qc": (QC, QCConfig),
    "qc_fql": (QCFQL, QCFQLConfig),
    "dsrl": (DSRL, DSRLConfig),
    "combo": (COMBO, COMBOConfig),
    "pets": (PETS, PETSConfig),
    "trajectory_transformer": (TrajectoryTransformer, TrajectoryTransformerConfig),
    "dreamer": (Dreamer, DreamerConfig),
}

__all__ = [
    "AGENTS",
    "AWAC",
    "BC",
    "BCQ",
    "COMBO",
    "CQL",
    "DSRL",
    "IBRL",
    "IQL",
    "MPC",
    "PETS",
    "QC",
    "QCFQL",
    "SAC",
    "TD3BC",
    "AWACConfig",
    "Agent",
    "AgentConfig",
    "BCConfig",
    "BCQConfig",
    "COMBOConfig",
    "CQLConfig",
    "DSRLConfig",
    "Dreamer",
    "DreamerConfig",
    "Edit",
    "EditConfig",
    "FlowBC",
    "FlowBCConfig",
    "GraspSAC",
    "GraspSACConfig",
    "HasCritics",
    "HasLikelihood",
    "HasModel",
    "IBRLConfig",
    "IQLConfig",
    "MPCConfig",
    "PETSConfig",
    "QCConfig",
    "QCFQLConfig",
    "SACConfig",
    "TD3BCConfig",
    "TrajectoryTransformer",
    "TrajectoryTransformerConfig",
]
