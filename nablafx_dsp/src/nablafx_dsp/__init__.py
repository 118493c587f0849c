"""NablAFx pack of audio processors, controllers and circuits."""
