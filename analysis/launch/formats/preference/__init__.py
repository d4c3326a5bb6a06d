"""The formats that train preference pairs (`training.stage: dpo`), with the interface of `formats.format.Format`."""
