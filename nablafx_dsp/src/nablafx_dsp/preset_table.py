"""Names of this pack's presets, with a description of one line each. This module imports nothing."""

from __future__ import annotations

#: Chains with dynamics, oversampled nonlinearities and branches, and their descriptions.
OURS = {
    "comp": "Compressor: EQ, two compressors, EQ, gain",
    "overdrive": "Overdrive: a clipped and a clean branch between two EQs",
    "fuzz": "Fuzz: two oversampled stages between EQs, the bias of the second follows the audio",
    "amp": "Amplifier: two oversampled stages between EQs, then a cabinet",
}

#: Gray-box configurations of NablAFx 1.0, under its names, which list the processors and what drives each: s for
#: static values, sc for the controls, d for the audio, dc for both. A name without a suffix has nothing to drive.
NABLAFX = (
    "gb-param_dist-mlp-fir_peq.sc+g.sc+off.sc+mlp+g.sc+peq.sc+fir.s+lp.s",
    "gb-param_dist-mlp-fir_peq.sc+g.sc+off.sc+phinv+mlp+g.sc+peq.sc+fir.s+lp.s",
    "gb-param_dist-mlp_peq.sc+g.sc+off.sc+mlp+g.sc+peq.sc+lp.s",
    "gb-param_dist-mlp_peq.sc+g.sc+off.sc+phinv+mlp+g.sc+peq.sc+lp.s",
    "gb-param_dist-rnl_peq.sc+g.sc+off.sc+phinv+rnl+g.sc+peq.sc+lp.s",
    "gb-param_dist-rnl_peq.sc+g.sc+off.sc+rnl+g.sc+peq.sc+lp.s",
    "gb-param_fuzz-mlp_peq.sc+g.sc+off.dc+mlp+g.sc+peq.sc+lp.s",
    "gb-param_fuzz-mlp_peq.sc+g.sc+off.dc+phinv+mlp+g.sc+peq.sc+lp.s",
    "gb-param_fuzz-rnl_peq.sc+g.sc+off.dc+phinv+rnl+g.sc+peq.sc+lp.s",
    "gb-param_fuzz-rnl_peq.sc+g.sc+off.dc+rnl+g.sc+peq.sc+lp.s",
    "gb_comp_peq.s+g.d+peq.s+g.s",
    "gb_comp_peq.s+phinv+g.d+peq.s+g.s",
    "gb_dist-mlp-fir_peq.s+g.s+off.s+mlp+g.s+peq.s+fir.s+lp.s",
    "gb_dist-mlp-fir_peq.s+g.s+off.s+phinv+mlp+g.s+peq.s+fir.s+lp.s",
    "gb_dist-mlp_peq.s+g.s+off.s+mlp+g.s+peq.s+lp.s",
    "gb_dist-mlp_peq.s+g.s+off.s+phinv+mlp+g.s+peq.s+lp.s",
    "gb_dist-rnl-fir_peq.s+g.s+off.s+phinv+rnl+g.s+peq.s+fir.s+lp.s",
    "gb_dist-rnl-fir_peq.s+g.s+off.s+rnl+g.s+peq.s+fir.s+lp.s",
    "gb_dist-rnl_peq.s+g.s+off.s+phinv+rnl+g.s+peq.s+lp.s",
    "gb_dist-rnl_peq.s+g.s+off.s+rnl+g.s+peq.s+lp.s",
    "gb_fuzz-mlp-fir_peq.s+g.s+off.d+mlp+g.s+peq.s+fir.s+lp.s",
    "gb_fuzz-mlp-fir_peq.s+g.s+off.d+phinv+mlp+g.s+peq.s+fir.s+lp.s",
    "gb_fuzz-mlp_peq.s+g.s+off.d+mlp+g.s+peq.s+lp.s",
    "gb_fuzz-mlp_peq.s+g.s+off.d+phinv+mlp+g.s+peq.s+lp.s",
    "gb_fuzz-rnl-fir_peq.s+g.s+off.d+phinv+rnl+g.s+peq.s+fir.s+lp.s",
    "gb_fuzz-rnl-fir_peq.s+g.s+off.d+rnl+g.s+peq.s+fir.s+lp.s",
    "gb_fuzz-rnl_peq.s+g.s+off.d+phinv+rnl+g.s+peq.s+lp.s",
    "gb_fuzz-rnl_peq.s+g.s+off.d+rnl+g.s+peq.s+lp.s",
)

#: Short names of some of the presets in `NABLAFX`.
ALIASES = {
    "gb-comp": "gb_comp_peq.s+g.d+peq.s+g.s",
    "gb-dist-rnl": "gb_dist-rnl_peq.s+g.s+off.s+rnl+g.s+peq.s+lp.s",
    "gb-dist-rnl-fir": "gb_dist-rnl-fir_peq.s+g.s+off.s+rnl+g.s+peq.s+fir.s+lp.s",
    "gb-dist-mlp": "gb_dist-mlp_peq.s+g.s+off.s+mlp+g.s+peq.s+lp.s",
    "gb-dist-mlp-fir": "gb_dist-mlp-fir_peq.s+g.s+off.s+mlp+g.s+peq.s+fir.s+lp.s",
    "gb-fuzz-rnl": "gb_fuzz-rnl_peq.s+g.s+off.d+rnl+g.s+peq.s+lp.s",
    "gb-fuzz-rnl-fir": "gb_fuzz-rnl-fir_peq.s+g.s+off.d+rnl+g.s+peq.s+fir.s+lp.s",
    "gb-fuzz-mlp": "gb_fuzz-mlp_peq.s+g.s+off.d+mlp+g.s+peq.s+lp.s",
    "gb-fuzz-mlp-fir": "gb_fuzz-mlp-fir_peq.s+g.s+off.d+mlp+g.s+peq.s+fir.s+lp.s",
    "gb-param-dist-rnl": "gb-param_dist-rnl_peq.sc+g.sc+off.sc+rnl+g.sc+peq.sc+lp.s",
    "gb-param-dist-mlp": "gb-param_dist-mlp_peq.sc+g.sc+off.sc+mlp+g.sc+peq.sc+lp.s",
    "gb-param-dist-mlp-fir": "gb-param_dist-mlp-fir_peq.sc+g.sc+off.sc+mlp+g.sc+peq.sc+fir.s+lp.s",
    "gb-param-fuzz-rnl": "gb-param_fuzz-rnl_peq.sc+g.sc+off.dc+rnl+g.sc+peq.sc+lp.s",
    "gb-param-fuzz-mlp": "gb-param_fuzz-mlp_peq.sc+g.sc+off.dc+mlp+g.sc+peq.sc+lp.s",
}


_WORDS = {
    "comp": "Compressor",
    "dist": "Distortion",
    "fuzz": "Fuzz",
    "peq": "EQ",
    "g": "gain",
    "off": "offset",
    "phinv": "inversion",
    "mlp": "MLP",
    "rnl": "rational",
    "fir": "FIR",
    "lp": "low-pass",
}


def summary(name: str) -> str:
    """Describe a preset in one line from its name: the effect, its processors, and whether its data need controls.

    Args:
        name: one of `NABLAFX`.
    """
    kind, _, chain = name.removeprefix("gb-param_").removeprefix("gb_").partition("_")
    parts = ", ".join(_WORDS[part.partition(".")[0]] for part in chain.split("+"))
    line = f"{_WORDS[kind.partition('-')[0]]}: {parts}"
    return f"{line}; for data with controls" if name.startswith("gb-param_") else line
