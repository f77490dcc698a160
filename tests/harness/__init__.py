"""What tests start and drive: a database server, the product's processes."""
