"""Where photos come from: any source to one checked set, fetched, looked at and split."""
