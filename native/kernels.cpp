// All kernels for one instruction set. CMake compiles this file once per set, with KERNEL_ISA naming it.
//
// Everything lives in the namespace KERNEL_ISA or is static: a function that two of these objects shared by name could
// be taken by the linker from the one with the newer instructions, and then run on a processor without them.
#include "aspect.hpp"
#include "binding.hpp"
#include "coarse_maps.hpp"
#include "draw.hpp"
#include "loss.hpp"
#include "refine.hpp"
#include "render.hpp"
#include "shown.hpp"
#include "side_views.hpp"

#define TO_STRING_(x) #x
#define TO_STRING(x) TO_STRING_(x)

namespace KERNEL_ISA {
extern const Kernels kernels;
const Kernels kernels = {TO_STRING(KERNEL_ISA), forward, backward, bind_forward, bind_backward, l1_ssim, aspect,
                         refine_step, draw, side_view, shown, spread_maps, gather_maps};
}  // namespace KERNEL_ISA
