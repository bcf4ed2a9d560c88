-- The cluster that this shard belongs to, as its directory's `cluster.id` says: `koshel init` writes it, with the
-- directory at hand, and the agent believes no other directory.

alter table identity add column cluster_id uuid;
