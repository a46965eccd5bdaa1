"""Types of the compiled kernels (native/module.cpp). All arrays are contiguous; floats are float32 unless said."""

from collections.abc import Sequence

from numpy.typing import NDArray

class Context:
    """The buffers of one render, kept for its backward pass and then used again."""

    def __init__(self) -> None: ...
    @property
    def drawn(self) -> int: ...
    @property
    def box(self) -> tuple[int, int, int, int]: ...
    @property
    def entries(self) -> int: ...

def set_threads(count: int) -> None: ...
def threads() -> int: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def select_instruction_set(name: str) -> None: ...
def constants() -> dict[str, float]: ...
def render_forward(context: Context, *arrays: NDArray) -> None: ...
def render_backward(context: Context, *arrays: NDArray | None) -> None: ...
def shown(context: Context, *arrays: NDArray) -> None: ...
def bind_forward(*arrays: NDArray) -> None: ...
def bind_backward(*arrays: NDArray | None) -> None: ...
def l1_ssim(
    image: NDArray,
    target: NDArray,
    gradient: NDArray | None,
    l1_weight: float,
    ssim_weight: float,
    x0: int,
    x1: int,
    y0: int,
    y1: int,
) -> float: ...
def aspect(covariances2d: NDArray, gradient: NDArray | None, threshold: float) -> float: ...

class RefineSettings:
    """Numbers of a refinement step; see native/refine_context.hpp."""

    l1_weight: float
    ssim_weight: float
    aspect_weight: float
    aspect_threshold: float
    own_aspect_factor: float
    own_aspect_threshold: float
    position_tether: float
    log_scale_tether: float
    color_tether: float
    opacity_tether: float
    hidden_evidence: float
    clamp: bool
    spread: float
    step_sizes: Sequence[float]
    epsilons: Sequence[float]
    second_correction: float
    background: Sequence[float]

    def __init__(self) -> None: ...

class RefineSteps:
    """A run of refinement, step by step; see native/refine.hpp."""

    @property
    def phases(self) -> list[float]: ...
    def __init__(
        self,
        faces: NDArray,
        first_of_face: NDArray,
        corners: NDArray,
        first_of_vertex: NDArray,
        vertices_count: int,
        values: Sequence[NDArray],
        first_moments: Sequence[NDArray],
        second_moments: Sequence[NDArray],
        starts: Sequence[NDArray],
        anchors: NDArray,
        lowest: NDArray,
        highest: NDArray,
    ) -> None: ...
    def step(
        self,
        settings: RefineSettings,
        vertices: NDArray,
        camera_from_world: NDArray,
        intrinsics: NDArray,
        width: int,
        height: int,
        frame: NDArray,
        matte: NDArray,
        box: Sequence[int],
        disregard_from: int,
        filmed: Sequence[int],
        moving: NDArray | None,
        weight: NDArray | None,
        corrections: Sequence[NDArray] | None,
        extra: Sequence[NDArray | None] | None,
        grad_vertices: NDArray | None,
        grad_positions: NDArray | None,
        grad_colors: NDArray | None,
    ) -> float: ...
    def side_view(
        self,
        vertices: NDArray,
        camera_from_world: NDArray,
        intrinsics: NDArray,
        width: int,
        height: int,
        background: Sequence[float],
        weight: float,
        coarse: int,
        moving: NDArray | None,
        corrections: Sequence[NDArray] | None,
        gradients: Sequence[NDArray],
    ) -> float: ...

class CoarseMaps:
    """Coarse UV maps to Gaussians and back; see native/coarse_maps.hpp."""

    def __init__(
        self,
        cells: NDArray,
        shares: NDArray,
        local_from_rest: NDArray,
        first_of_cell: NDArray,
        members: NDArray,
        member_shares: NDArray,
        color_unit: float,
    ) -> None: ...
    def spread(self, map: NDArray, positions: NDArray, colors: NDArray) -> None: ...
    def gather(self, positions: NDArray, colors: NDArray, gradient: NDArray) -> None: ...

class Drawer:
    """Draws one avatar frame by frame; see native/draw.hpp."""

    def __init__(
        self, faces: NDArray, first_of_face: NDArray, vertices_count: int, values: Sequence[NDArray]
    ) -> None: ...
    def draw(
        self,
        vertices: NDArray,
        camera_from_world: NDArray,
        intrinsics: NDArray,
        background: Sequence[float] | None,
        corrections: Sequence[NDArray] | None,
        out: NDArray,
    ) -> None: ...

def mesh_draw(
    points: NDArray,
    faces: NDArray,
    nearness: NDArray,
    face: NDArray,
    barycentric: NDArray,
    first_face: int,
    perspective: bool,
) -> None: ...
def mesh_interpolate(
    face: NDArray, barycentric: NDArray, faces: NDArray, attributes: NDArray, result: NDArray
) -> None: ...
def mesh_sample(texture: NDArray, places: NDArray, result: NDArray) -> None: ...
