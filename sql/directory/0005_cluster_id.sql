-- Clusters are called alike: what tells one directory from another, or from an old copy, is told here.

alter table cluster add column id uuid not null default gen_random_uuid();

-- As before, but for an incarnation that this directory has never given out (KO014): then it is not the one that
-- decided, and whoever asked stays in doubt.
create or replace function decide(p_incarnation bigint, p_sequence bigint, p_is_commit boolean,
                                  p_participants integer[]) returns integer
language plpgsql as $$
declare
  fence   bigint := fence_of(p_incarnation);
  outcome boolean;
begin
  if fence is null or p_sequence <= fence then
    update decisions d set asked = d.asked + 1
     where d.incarnation = p_incarnation and d.sequence = p_sequence
    returning d.is_commit into outcome;
    if fence is null then
      -- Nothing was locked, so without a write what was seen might be undone by a failover.
      update cluster set last_incarnation = last_incarnation where last_incarnation >= p_incarnation;
      if not found then
        raise exception 'this directory has never given out incarnation %', p_incarnation using errcode = 'KO014';
      end if;
    end if;
    return case when outcome then 1 when not outcome then 0 else -1 end;
  end if;
  insert into decisions as d (incarnation, sequence, is_commit, participants)
  values (p_incarnation, p_sequence, p_is_commit, p_participants)
  on conflict (incarnation, sequence) do update set asked = d.asked + 1
  returning d.is_commit into outcome;
  return outcome::integer;
end
$$;
