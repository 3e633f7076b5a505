"""HTTP without a dialect: requests, bodies, errors."""
