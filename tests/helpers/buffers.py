"""Pickles of Stable-Baselines3's buffers, changed without Stable-Baselines3."""

import copyreg
import pickle
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class Standing:
    """Stands for an object of a class that is not installed, and pickles as that."""

    def __new__(cls, *arguments):
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __setstate__(self, state):
        self.state = state

    def __reduce__(self):
        return copyreg.__newobj__, (type(self), *self.arguments), self.state


def standing(module, name):
    return type(name, (Standing,), {"__module__": module, "__qualname__": name})


class Reader(pickle._Unpickler):  # these two are Python's own, of which parts can be replaced
    def find_class(self, module, name):
        plain = module.split(".")[0] in ("numpy", "_codecs", "collections") and "random" not in module
        return super().find_class(module, name) if plain else standing(module, name)


class Writer(pickle._Pickler):
    def save_global(self, obj, name=None):
        if not (isinstance(obj, type) and issubclass(obj, Standing)):
            return super().save_global(obj, name)
        self.save(obj.__module__)
        self.save(obj.__qualname__)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch = pickle._Pickler.dispatch | {type: save_global}  # pyright: ignore[reportAssignmentType]


def rewritten(folder, name, change):
    """A fixture whose buffer's state was changed by `change`, in `folder`."""
    with open(FIXTURES / name, "rb") as file:
        buffer = Reader(file).load()
    change(buffer.state)
    with open(folder / name, "wb") as file:
        Writer(file, 5).dump(buffer)
    return folder / name
