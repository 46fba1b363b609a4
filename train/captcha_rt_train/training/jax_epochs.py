"""Trains with JAX: an epoch is one call to the device, which makes the batches itself.

Keras's own loop would wait for the processor at every step: for the next batch, and for the average
of the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import Array

from captcha_rt_train.data.drawn import time_steps
from captcha_rt_train.data.jax_pool import JaxPool
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.training.averaging import WeightAverage, growing

_State = tuple[list[Array], list[Array], list[Array], list[Array]]
"""What a step changes: the weights that are trained, the others, the optimizer's variables, and
the average of all weights."""


@dataclass(frozen=True, slots=True, eq=False)  # compared, and hashed, as itself
class JaxEpochs:
    """A training whose steps run on JAX's device.

    Attributes:
        model: The compiled model; its loss takes `labels`, `times` and `step`.
        pool: The pictures.
        batch_size: The pictures of a step.
        steps: The steps of an epoch.
        seed: Chooses the pictures and their changes, with the number of a step: so a resumed
            training sees the same pictures as an uninterrupted one.
        average: Gets the average of the weights after each epoch.
    """

    model: keras.Model
    pool: JaxPool
    batch_size: int
    steps: int
    seed: int
    average: WeightAverage

    def fit(
        self,
        *,
        initial_epoch: int,
        epochs: int,
        first_step: int,
        callbacks: Sequence[keras.callbacks.Callback],
        check: Callable[[], None],
        verbose: int,
    ) -> None:
        """Trains, as `keras.Model.fit` does.

        Args:
            initial_epoch: The epochs that this training has had.
            epochs: The epochs that it is to have.
            first_step: The number of the first step, which those of a trunk count for, too.
            callbacks: Only what they do before and after an epoch is called.
            check: Is called after each epoch; raises if the training is to end.
            verbose: As Keras takes it.

        Raises:
            TrainingError: If JAX can't run an epoch, mostly for its device's memory.
        """
        model = self.model
        told = keras.callbacks.CallbackList(
            list(callbacks),
            add_progbar=verbose > 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=self.steps,
        )
        run = jax.jit(self._epoch, donate_argnums=0)
        model.stop_training = False
        told.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            told.on_epoch_begin(epoch)
            start = first_step + (epoch - initial_epoch) * self.steps
            numbers = self.pool.choose(self.seed, start, self.steps, self.batch_size)
            try:
                state, losses = run(
                    self._state(), self.pool, jnp.asarray(numbers), start, self.average.steps
                )
                loss = float(losses.mean())
            except jax.errors.JaxRuntimeError as error:
                raise TrainingError(
                    f"{jax.devices()[0]} can't run the training: {str(error).splitlines()[0]}; "
                    "fewer pictures (--drawn) leave more of its memory"
                ) from error
            self._keep(state)
            told.on_epoch_end(epoch, {"loss": loss})
            check()
            if model.stop_training:
                break
        told.on_train_end()

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        """The variables that a step changes, in the order of a state."""
        model = self.model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _state(self) -> _State:
        """The values of the variables, and the average so far."""
        # Copies: the device writes the next values into the places of these.
        trained, others, optimizer = (
            [jnp.array(v.value) for v in variables] for variables in self._variables()
        )
        return trained, others, optimizer, [jnp.array(w) for w in self.average.weights]

    def _keep(self, state: _State) -> None:
        """Gives the variables and the average their new values."""
        *groups, average = state
        for variables, values in zip(self._variables(), groups, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        weights = [np.array(weight, np.float32) for weight in average]
        self.average.put(weights, self.average.steps + self.steps)

    def _epoch(
        self, state: _State, pool: JaxPool, numbers: Array, first: Array, averaged: Array
    ) -> tuple[_State, Array]:
        """Trains the steps of an epoch: the state after it, and the loss of each step."""
        steps = jnp.arange(self.steps)
        return jax.lax.scan(
            partial(self._step, pool), state, (numbers, first + steps, averaged + steps)
        )

    def _step(
        self, pool: JaxPool, state: _State, now: tuple[Array, Array, Array]
    ) -> tuple[_State, Array]:
        """Trains one step."""
        trained, others, optimizer, average = state
        numbers, step, averaged = now
        key = jax.random.fold_in(jax.random.key(self.seed), step)
        inputs, labels, columns = pool.take(numbers, key)
        times = time_steps(columns, self.model.output_shape[1])
        target = {"labels": labels, "times": times, "step": step[None]}
        gradient = jax.value_and_grad(self._loss, has_aux=True)
        (loss, others), slopes = gradient(trained, others, inputs, target)
        trained, optimizer = self.model.optimizer.stateless_apply(optimizer, slopes, trained)
        keep = jnp.minimum(self.average.kept, growing(averaged))
        average = [
            keep * mean + (1 - keep) * weight
            for mean, weight in zip(average, self._weights(trained, others), strict=True)
        ]
        return (trained, others, optimizer, average), loss

    def _loss(
        self, trained: list[Array], others: list[Array], inputs: Array, target: dict[str, Array]
    ) -> tuple[Array, list[Array]]:
        scores, others = self.model.stateless_call(trained, others, inputs, training=True)
        return self.model.compute_loss(inputs, target, scores), others

    def _weights(self, trained: list[Any], others: list[Any]) -> list[Any]:
        """The weights in the order of `keras.Model.get_weights`."""
        model = self.model
        variables = model.trainable_variables + model.non_trainable_variables
        values = {id(v): value for v, value in zip(variables, trained + others, strict=True)}
        return [values[id(v)] for v in model.weights]
