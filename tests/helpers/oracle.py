"""Plain NumPy versions of the networks and losses, in float64 and with loops, to hold the agents against."""

import numpy as np


def dense(x, params):
    return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def hidden(p, observation):
    """The last hidden layer of a policy; relu layers without LayerNorm."""
    h = np.asarray(observation, np.float64)
    for layer in range(sum(name.startswith("hidden") for name in p)):
        h = np.maximum(dense(h, p[f"hidden_{layer}"]), 0)
    return h


def policy(params, observation):
    """Mean and log standard deviation, `[B, A]`."""
    p = params["params"]
    mean, log_std = np.split(dense(hidden(p, observation), p["gaussian"]), 2, axis=-1)
    return mean, np.clip(log_std, -20, 2)


def deterministic(params, observation):
    """The action `[B, A]` of a deterministic policy."""
    return np.tanh(dense(hidden(params["params"], observation), params["params"]["mean"]))


def layers(params, x, head):
    """The hidden layers, then the linear layer called `head`."""
    return dense(hidden(params["params"], x), params["params"][head])


def critic(params, member, observation, action, layer_norm=True):
    """Q `[B]` of one ensemble member."""
    p = {name: np.asarray(leaf[member], np.float64) for name, leaf in params["params"].items()}
    h = np.concatenate([observation, action], axis=-1)
    for layer in range(sum(name.startswith("kernel_") and name != "kernel_value" for name in p)):
        h = h @ p[f"kernel_{layer}"] + p[f"bias_{layer}"]
        if layer_norm:
            centred = h - h.mean(-1, keepdims=True)
            h = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p[f"norm_scale_{layer}"] + p[f"norm_bias_{layer}"]
        h = np.maximum(h, 0)
    return (h @ p["kernel_value"] + p["bias_value"])[..., 0]


def log_density(mean, log_std, action):
    """log π of a tanh-Gaussian, from the action itself."""
    u = np.arctanh(action)
    gaussian = -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    return (gaussian - np.log(1 - action**2)).sum(-1)


def gaussian_density(mean, log_std, action):
    """log density of a Gaussian that nothing squashes."""
    return (-0.5 * ((action - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)).sum(-1)


def logsumexp(x):
    top = x.max(-1)
    return top + np.log(np.exp(x - top[..., None]).sum(-1))
