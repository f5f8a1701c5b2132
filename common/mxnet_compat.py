"""MXNet 1.9.1's private parts that the project relies on: private names, C functions, messages that are parsed.

All of it is here, so that another version of MXNet can be tried with the tests of one file. (`symbols` imports nothing
of the project; it uses `Symbol.handle` alone, to know whether two symbols are one object.)
"""
from __future__ import annotations

import ctypes
import re
import threading
from operator import is_
from typing import Any, Callable, Iterable, Mapping, Sequence

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.base import _LIB, NDArrayHandle, OpHandle, c_handle_array, c_str, c_str_array, check_call
from mxnet.kvstore.base import _ctype_key_value

Arrays = Mapping[str, mx.nd.NDArray]
Command = Callable[[int, "int | None", "int | None"], None]
SERVER_COMMAND = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


# Arrays

def in_host_memory(values: np.ndarray) -> mx.nd.NDArray:
    """A copy of `values`, of their type, as mx.nd.array makes it, in a seventh of its time."""
    array = mx.nd.empty(values.shape, ctx=mx.cpu(), dtype=values.dtype)
    array._sync_copyfrom(values)
    return array


def set_at(array: mx.nd.NDArray, values: mx.nd.NDArray, places: mx.nd.NDArray) -> None:
    """Write `values` into `array` at `places`, a column of indices for each value, as gather_nd reads them."""
    mx.nd._internal._scatter_set_nd(array, values, places, shape=array.shape, out=array)


def are_the_same(arrays: Sequence[mx.nd.NDArray], others: Sequence[mx.nd.NDArray]) -> bool:
    """Whether they are the same objects, in the same order, whatever their values."""
    return len(arrays) == len(others) and all(map(is_, arrays, others))


def split_into(whole: mx.nd.NDArray, parts: Sequence[mx.nd.NDArray]) -> None:
    """Copy a (n,) array into arrays that are its parts in their order, in one operator."""
    ends = np.cumsum([part.size for part in parts])
    mx.nd._internal._split_v2(whole, indices=(0, *map(int, ends[:-1])), axis=0, out=list(parts))


def set_rows(array: mx.nd.NDArray, values: mx.nd.NDArray, rows: mx.nd.NDArray) -> None:
    """Write `values`, (n, ...), into the rows `rows`, (n,), of `array`."""
    set_at(array, values, rows.reshape((1, -1)))


def mark_gradients_new(arrays: Iterable[mx.nd.NDArray]) -> None:
    """Mark gradients as fresh for a Trainer where they were not computed by autograd."""
    for array in arrays:
        array._fresh_grad = True


# Prepared calls: MXNet's own take two to four times as long, most of it to make what is the same each time

Queue = Callable[[], None]


def prepared(operator: str, inputs: Sequence[mx.nd.NDArray], output: mx.nd.NDArray, **attributes: object) -> Queue:
    """A function that queues an operator, by MXNet's name for it, on arrays that stay; output may be among `inputs`."""
    queue = prepared_but_attributes(operator, inputs, [output])
    return lambda: queue(attributes)


def prepared_but_attributes(operator: str, inputs: Sequence[mx.nd.NDArray],
                            outputs: Sequence[mx.nd.NDArray]) -> Callable[[Mapping[str, object]], None]:
    """As `prepared`, as a function of the operator's attributes; it is fast with those of its last call."""
    arrays, types = _operator_with(operator, c_handle_array(inputs), outputs), ctypes.POINTER(ctypes.c_int)()
    given: Mapping[str, object] = {}
    call = (*arrays, *_strings(given), ctypes.byref(types))

    def queue(attributes: Mapping[str, object], _kept: object = (*inputs, *outputs)) -> None:
        nonlocal given, call
        if attributes is not given and attributes != given:
            given, call = dict(attributes), (*arrays, *_strings(attributes), ctypes.byref(types))
        check_call(_LIB.MXImperativeInvokeEx(*call))
    return queue


def prepared_copy_to(place: mx.nd.NDArray) -> Callable[[mx.nd.NDArray], None]:
    """A function that queues a copy to `place`, which stays, from an array of its shape on any device."""
    source = (NDArrayHandle * 1)()
    call = (*_operator_with("_copyto", source, [place]), *_strings({}), ctypes.byref(ctypes.POINTER(ctypes.c_int)()))

    def queue(array: mx.nd.NDArray, _kept: object = place) -> None:
        source[0] = array.handle
        check_call(_LIB.MXImperativeInvokeEx(*call))
    return queue


def _operator_with(operator: str, inputs: ctypes.Array[Any], outputs: Sequence[mx.nd.NDArray]) -> tuple[object, ...]:
    """The arguments of MXImperativeInvokeEx before the attributes."""
    handle = OpHandle()
    check_call(_LIB.NNGetOpHandle(c_str(operator), ctypes.byref(handle)))
    places = ctypes.cast(c_handle_array(outputs), ctypes.POINTER(NDArrayHandle))
    return (handle, ctypes.c_int(len(inputs)), inputs, ctypes.byref(ctypes.c_int(len(outputs))), ctypes.byref(places))


def _strings(attributes: Mapping[str, object]) -> tuple[object, object, object]:
    return (ctypes.c_int(len(attributes)), c_str_array(list(attributes)),
            c_str_array([str(value) for value in attributes.values()]))


def prepared_copies(pairs: Iterable[tuple[mx.nd.NDArray, mx.nd.NDArray]]) -> Queue:
    """A function that queues copies from the first to the second of each pair, of one shape and on any devices."""
    copies = [prepared("_copyto", [source], place) for source, place in pairs]

    def queue() -> None:
        for copy in copies:
            copy()
    return queue


def prepared_to(arrays: Sequence[mx.nd.NDArray], device: mx.Context) -> tuple[list[mx.nd.NDArray], Queue]:
    """Places for `arrays` on `device`, and the copies that fill them; those that are there need none."""
    places = [array if array.context == device else mx.nd.empty(array.shape, ctx=device) for array in arrays]
    return places, prepared_copies((array, place) for array, place in zip(arrays, places) if array is not place)


def prepared_set_at(array: mx.nd.NDArray, values: mx.nd.NDArray, places: mx.nd.NDArray) -> Queue:
    """`set_at` as a function that queues it."""
    return prepared("_scatter_set_nd", [array, values, places], array, shape=array.shape)


def prepared_forward(executor: mx.executor.Executor, train: bool) -> Queue:
    """A function that queues the forward pass of a bound graph, whose outputs stay where they are."""
    def queue() -> None:
        check_call(_LIB.MXExecutorForward(executor.handle, ctypes.c_int(train)))
    return queue


def prepared_backward(executor: mx.executor.Executor, gradients: Sequence[mx.nd.NDArray]) -> Queue:
    """A function that queues the backward pass of a bound graph from `gradients`, of its outputs."""
    return _backward_with(executor, c_handle_array(gradients), gradients)


def prepared_backward_from(executor: mx.executor.Executor) -> Callable[[mx.nd.NDArray], None]:
    """A function that queues the backward pass of a bound graph from the gradient of its first output."""
    handles = (NDArrayHandle * 1)()
    queue = _backward_with(executor, handles)

    def queue_from(gradient: mx.nd.NDArray) -> None:
        handles[0] = gradient.handle
        queue()
    return queue_from


def _backward_with(executor: mx.executor.Executor, gradients: ctypes.Array[Any], kept: object = ()) -> Queue:
    def queue(_kept: object = kept) -> None:
        check_call(_LIB.MXExecutorBackwardEx(executor.handle, ctypes.c_uint(len(gradients)), gradients,
                                             ctypes.c_int(1)))
    return queue


def prepared_pushpull(store: mx.kv.KVStore, numbers: Sequence[int], arrays: Sequence[Sequence[mx.nd.NDArray]]) -> Queue:
    """A function that queues a kvstore's sums of arrays that stay, one on each device, by their numbers."""
    keys, places, _ = _ctype_key_value(numbers, arrays)
    count = ctypes.c_uint(len(keys))

    def queue(_kept: object = arrays) -> None:
        check_call(_LIB.MXKVStorePushPull(store.handle, count, keys, count, keys, places, places, ctypes.c_int(0)))
    return queue


# gluon.Trainer

class Trainer(gluon.Trainer):
    """A gluon.Trainer that sums all gradients by one call, and updates all arrays of a device by one of its optimizer.

    MXNet's calls its kvstore once for each array, and its optimizer once for every four of each device, after several
    looks at every array: half of what a step of a MobileFaceNet (180 arrays) on eight devices cost Python. parameters:
    initialised, by name; their arrays stay. store: a kvstore or its name. gradients: of each trained parameter, one for
    each device.
    """

    def __init__(self, parameters: Mapping[str, gluon.Parameter], optimizer: mx.optimizer.Optimizer,
                 store: str | mx.kv.KVStoreBase) -> None:
        super().__init__(parameters, optimizer, kvstore=store, update_on_kvstore=False)
        # Now, and not at the first step, where it overwrites the running statistics of all devices but the first.
        self._init_kvstore()
        self._init_params()
        trained = trained_parameters(self)
        self._numbers, weights = list(trained), [parameter.list_data() for parameter in trained.values()]
        self.gradients: list[list[mx.nd.NDArray]] = [parameter.list_grad() for parameter in trained.values()]
        self._by_device = list(zip(zip(*weights), zip(*self.gradients)))
        self._sum = (prepared_pushpull(self._kvstore, self._numbers, self.gradients) if trained and not
                     self._distributed and isinstance(self._kvstore, mx.kvstore.KVStore) else None)

    def _allreduce_grads(self) -> None:
        if self._sum:
            self._sum()
        elif self._kvstore:
            super()._allreduce_grads()  # array by array, the last layers' first

    def _update(self, ignore_stale_grad: bool = False) -> None:
        for updater, (weights, gradients) in zip(self._updaters, self._by_device):
            self.optimizer._set_current_context(weights[0].context.device_id)
            for number, weight in zip(self._numbers, weights):
                if number not in updater.states:
                    updater.states[number] = self.optimizer.create_state_multi_precision(number, weight)
                    updater.states_synced[number] = True
            self.optimizer.update_multi_precision(self._numbers, weights, gradients,
                                                  [updater.states[number] for number in self._numbers])


def trained_parameters(trainer: gluon.Trainer) -> dict[int, gluon.Parameter]:
    """The parameters that a trainer updates, by its number for them."""
    return {number: parameter for number, parameter in enumerate(trainer._params) if parameter.grad_req != "null"}


def momentum_arrays(trainer: gluon.Trainer) -> dict[str, mx.nd.NDArray]:
    """SGD's momentum by parameter name (the same on every device), in host memory."""
    states, names = trainer._updaters[0].states, _names(trainer)
    return {names[index]: value.copyto(mx.cpu()) for index, value in states.items() if value is not None}


def set_momentum(trainer: gluon.Trainer, arrays: Arrays, devices: Sequence[mx.Context]) -> None:
    """Restore what `momentum_arrays` returned, on every device; nothing for an optimizer without momentum.

    The arrays go into the updaters by name instead of through Trainer.load_states, which unpickles: a run folder is
    shared between users.
    """
    for updater, device in zip(trainer._updaters, devices):
        for index, name in _names(trainer).items() if updater.optimizer.momentum else ():
            if name in arrays:
                updater.states[index] = arrays[name].copyto(device)
                updater.states_synced[index] = True


def _names(trainer: gluon.Trainer) -> dict[int, str]:
    return {index: parameter.name for index, parameter in enumerate(trainer._params)}


# Executors

def allotted_megabytes(executor: mx.executor.Executor) -> int:
    """What MXNet's memory planner allocates for the maps of a bound graph, in whole megabytes."""
    return int(re.findall(r"Total (\d+) MB allocated", executor.debug_str())[0])


# The engine's workers

class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("number", ctypes.c_int32)]


_IN_WORKER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_kept: dict[int, object] = {}  # by width, the callback of a worker, kept alive for as long as it may be called


def set_worker_threads(device: mx.Context, width: int) -> None:
    """Queue, before what follows on `device`, that its worker is to use `width` OpenMP threads.

    Needed again after a fork of this process, which ends all workers and starts new ones.
    """
    def in_worker(_context: int, caller: int) -> None:
        if threading.get_ident() != caller:  # MXNet's NaiveEngine has no workers
            _LIB.MXSetNumOMPThreads(ctypes.c_int(width))
    function = _kept.setdefault(width, _IN_WORKER(in_worker))
    place = _Device(mx.Context.devstr2type[device.device_type], device.device_id)
    check_call(_LIB.MXEnginePushSync(function, ctypes.c_void_p(threading.get_ident()), None, ctypes.byref(place),
                                     None, 0, None, 0, None, 0, b"worker_threads"))


# The parameter server (ps-lite)

SCHEDULER, SERVERS_AND_WORKERS = 1, 2 + 4  # ps-lite's numbers of groups of nodes


def silent_nodes(store: mx.kv.KVStore, group: int, seconds: int) -> int:
    """How many nodes of `group` have sent no heartbeat for so long; 0 where that cannot be queried."""
    count = ctypes.c_int()
    failed = _LIB.MXKVStoreGetNumDeadNode(store.handle, ctypes.c_int(group), ctypes.byref(count),
                                          ctypes.c_int(seconds))
    return 0 if failed else count.value


def leave_alone(store: mx.kv.KVStore) -> None:
    """Let this process exit without waiting for the other workers to exit as well."""
    check_call(_LIB.MXKVStoreSetBarrierBeforeExit(store.handle, ctypes.c_int(0)))


def serve_until_done(store: mx.kv.KVStore, on_command: Command) -> None:
    """Be a scheduler or a server until the workers are done; on_command takes what else they send, unread."""
    controller = SERVER_COMMAND(on_command)
    check_call(_LIB.MXKVStoreRunServer(store.handle, controller, None))
