"""Sweeps: trainings that differ in some settings, run by Ray Tune and recorded as runs of one sweep.

A sweep is a YAML file:

.. code-block:: yaml

    experiment: muff.yaml            # relative to this file; or the sections of an experiment
    sweep:
      search: random                 # grid, random or asha
      trials: 20                     # for random and asha; a grid runs all combinations
      metric: validation/loss        # ranks the trials, each by its best validation
      mode: min
      seed: 42
      concurrent: 2                  # trials at a time; by default as many as the resources allow
      resources: {cpus: 1, gpus: 0}  # for each trial; torch uses as many threads as cpus
      asha: {grace_period: 4, reduction_factor: 3}  # validations before a stop; 1 of 3 trials continues
      space:
        model.channel_width: [8, 16, 32]
        train.learning_rate: {min: 1.0e-4, max: 1.0e-2, log: true}
        model.num_blocks: {min: 4, max: 10, integer: true}

All trials are drawn and checked before the first one starts. Only `scheduling` and `quiet_ray` import Ray.
"""
