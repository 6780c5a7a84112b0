"""Commands for Python: what is done, one file a command, options in, result out. `lhc.cli` parses and prints.

Nothing here prints; warnings go to the logger ``lhc``. ``model`` is a path, a zoo name, an ``onnx.ModelProto``, a model
that was loaded, or a ``torch.nn.Module`` (exported on the first two samples of ``data``). ``data`` is an ``.npz`` file,
arrays by input name (and ``labels``), or a `Task`; a zoo name brings its own. Every error is an `LhcError`.
"""
