"""What to learn: one file per algorithm, pure functions over arrays."""

from .awac import AWAC, AWACConfig
from .base import Agent, AgentConfig, HasCritics, HasLikelihood
from .bc import BC, BCConfig
from .bcq import BCQ, BCQConfig
from .cql import CQL, CQLConfig
from .edit import Edit, EditConfig
from .flow_bc import FlowBC, FlowBCConfig
from .grasp import GraspSAC, GraspSACConfig
from .ibrl import IBRL, IBRLConfig
from .iql import IQL, IQLConfig
from .qc import QC, QCConfig
from .qc_fql import QCFQL, QCFQLConfig
from .sac import SAC, SACConfig
from .td3bc import TD3BC, TD3BCConfig

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
    "qc": (QC, QCConfig),
    "qc_fql": (QCFQL, QCFQLConfig),
}

__all__ = [
    "AGENTS",
    "AWAC",
    "BC",
    "BCQ",
    "CQL",
    "IBRL",
    "IQL",
    "QC",
    "QCFQL",
    "SAC",
    "TD3BC",
    "AWACConfig",
    "Agent",
    "AgentConfig",
    "BCConfig",
    "BCQConfig",
    "CQLConfig",
    "Edit",
    "EditConfig",
    "FlowBC",
    "FlowBCConfig",
    "GraspSAC",
    "GraspSACConfig",
    "HasCritics",
    "HasLikelihood",
    "IBRLConfig",
    "IQLConfig",
    "QCConfig",
    "QCFQLConfig",
    "SACConfig",
    "TD3BCConfig",
]
