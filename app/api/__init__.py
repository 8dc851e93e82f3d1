"""The HTTP interface: JSON over the domain services, errors as problem+json."""
