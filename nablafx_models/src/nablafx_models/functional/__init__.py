"""Functions of tensors, each with its equation in its docstring; differentiable unless the docstring says otherwise."""
