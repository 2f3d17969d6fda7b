"""The commands, by the names under which they are installed. setup.py reads this file alone, so it imports nothing of the package."""

COMMANDS = {
    "inspect_data": "inspect_data",
    "merge_data": "merge_data",
    "train_offline_warmup": "train_offline_warmup",
    "train_rlpd": "train_rlpd",
    "warmloop-classifier": "train_classifier",
    "warmloop-cluster": "cluster",
    "warmloop-collect": "collect",
    "warmloop-credentials": "credentials",
    "warmloop-demo": "demo",
    "warmloop-demo-hil": "demo_hil",
    "warmloop-evaluate": "evaluate",
    "warmloop-export": "export",
    "warmloop-local": "local",
    "warmloop-page": "page_run",
    "warmloop-report": "report_run",
    "warmloop-sweep": "sweep",
}
# The same as verbs of the one command `warmloop`, in the order in which a user meets them.
VERBS = {
    "demo": "warmloop-demo",
    "demo-hil": "warmloop-demo-hil",
    "collect": "warmloop-collect",
    "inspect": "inspect_data",
    "merge": "merge_data",
    "classifier": "warmloop-classifier",
    "warmup": "train_offline_warmup",
    "finetune": "train_rlpd",
    "local": "warmloop-local",
    "cluster": "warmloop-cluster",
    "evaluate": "warmloop-evaluate",
    "page": "warmloop-page",
    "report": "warmloop-report",
    "sweep": "warmloop-sweep",
    "export": "warmloop-export",
    "credentials": "warmloop-credentials",
}
