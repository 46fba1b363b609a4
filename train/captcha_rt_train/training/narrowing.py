"""Narrows a trained network of the shape `compact`: fewer filters, the ones that matter most."""

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.errors import TrainingError
from captcha_rt_train.networks import RESIDUAL


def narrow(wide: keras.Model, slim: keras.Model) -> None:
    """Gives a narrower network the weights of a wide one's most important filters.

    A filter's importance is the norm of the weights that read it, times what its normalisations
    multiply it with. The slim network reads badly at first, but learns again what it has lost
    from a fraction of the pictures. Source: H. Li et al., "Pruning Filters for Efficient ConvNets"
    (ICLR 2017).

    Args:
        wide: A trained network of `networks.compact`.
        slim: A network of the same layers, none of which has more filters; its weights are changed.

    Raises:
        TrainingError: If the networks have other layers, or the slim one is wider.
    """
    convolutions, others = (
        [layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
        for network in (wide, slim)
    )
    if convolutions != others or any(
        wide.get_layer(name).filters < slim.get_layer(name).filters for name in convolutions
    ):
        raise TrainingError(
            "only a network of the same layers, none of which has fewer filters, can be narrowed: "
            "name a trunk to start from, too"
        )
    added_to = {"columns1": "context", convolutions[-1]: "text_context"}
    there = {layer.name for layer in wide.layers} & {layer.name for layer in slim.layers}
    contexts = {name: context for name, context in added_to.items() if context in there}
    kept = np.arange(wide.input_shape[-1])
    residuals = {name for name in convolutions if name.startswith(RESIDUAL)}
    plain = [name for name in convolutions if name not in residuals]
    for name, reader in zip(plain, [*plain[1:], "logits"], strict=True):
        kernel = wide.get_layer(name).get_weights()[0][:, :, kept]
        norm = wide.get_layer(f"{name}_norm").get_weights()
        reading = wide.get_layer(reader).get_weights()[0]
        filters = slim.get_layer(name).filters
        scale, norms = np.abs(norm[0]), _norms(reading)
        residual = name.replace("rows", RESIDUAL)
        if residual in residuals:  # it reads these filters, and is added to them
            added = wide.get_layer(residual).get_weights()[0]
            added_norm = wide.get_layer(f"{residual}_norm").get_weights()
            scale, norms = scale + np.abs(added_norm[0]), np.hypot(norms, _norms(added))
        chosen = _most_important(scale * norms, filters)
        if residual in residuals:
            slim.get_layer(residual).set_weights([added[:, :, chosen][..., chosen]])
            slim.get_layer(f"{residual}_norm").set_weights([w[chosen] for w in added_norm])
        slim.get_layer(name).set_weights([kernel[..., chosen]])
        slim.get_layer(f"{name}_norm").set_weights([weight[chosen] for weight in norm])
        if name in contexts:
            weights, bias = wide.get_layer(contexts[name]).get_weights()
            added = [weights[np.ix_(chosen, chosen)], bias[chosen]]
            slim.get_layer(contexts[name]).set_weights(added)
        kept = chosen
    weights, bias = wide.get_layer("logits").get_weights()
    slim.get_layer("logits").set_weights([weights[kept], bias])


def _norms(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The norm of what reads each input channel; the channels are the last axis but one."""
    axes = (*range(kernel.ndim - 2), kernel.ndim - 1)
    return np.asarray(np.sqrt((kernel.astype(np.float32) ** 2).sum(axis=axes)))


def _most_important(importance: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The indices of the largest values, in order."""
    return np.sort(np.argsort(-importance, kind="stable")[:count])
