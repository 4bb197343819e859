"""The parts of data-set validation; `libs.data.validate` puts them together."""
