"""Photos of a folder, a manifest, shards or a bucket scored offline on Ray Data, with the archive's own handler."""
