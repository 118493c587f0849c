"""NablAFx pack: dsp."""
