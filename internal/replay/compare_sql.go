package replay

// groupSQL makes one row of all records of one identity, the one that has the
// position where a missing row belongs:
//
//	rank 0  on its own topic, and not noted as a duplicate
//	rank 1  on its own topic, and noted as a duplicate of another
//	rank 2  on unifyevents only
//	rank 3  on its own topic, but beyond the ledger
//
// judged says whether the run covers the group: a record of unifyevents whose
// twin lies beyond the ledger will come by itself, and one whose twin may still be
// on its way is left alone until then (see twinBound).
//
// told says that the one record on unifyevents has its twin on the topic of its
// own: a row made of it (before the twin came) is one too many.
const groupSQL = `
CREATE TABLE {groups} AS
SELECT DISTINCT ON ({group}, twin) {columns}, rank, home,
       bool_or(covered) OVER every
         AND (bool_or(home AND rank < 2) OVER one OR NOT bool_or(rank = 3) OVER one)
         AND (home OR NOT bool_or(home) OVER every)
         AND (home OR {settled}) AS judged,
       {told} AS told
  FROM (SELECT s.*, x.home, x.covered, x.twin, x.rank FROM {s} s
          LEFT JOIN {schema}.later w ON (w.topic_id, w.partition, w."offset") = (s.src_topic, s.src_partition, s.src_offset)
          LEFT JOIN {schema}.zones z ON z.topic_id = s.src_topic AND z.partition = s.src_partition AND z.class = 'read'
                AND s.src_offset >= z.first AND s.src_offset < z.until
          LEFT JOIN dingir.duplicates d ON (d.topic_id, d.partition, d."offset") = (s.src_topic, s.src_partition, s.src_offset)
         CROSS JOIN LATERAL (SELECT {home} AS home, z.class IS NOT NULL AND w.topic_id IS NULL AS covered,
               {twin} AS twin,
               CASE WHEN z.class IS NULL THEN 3 WHEN NOT {home} THEN 2 WHEN d.topic_id IS NOT NULL THEN 1 ELSE 0 END::smallint AS rank) x) s
WINDOW one AS (PARTITION BY {group}, twin), every AS (PARTITION BY {group})
 ORDER BY {group}, twin, rank, src_partition, src_offset`

// matchSQL finds the live rows of each group by their identity, and keeps what
// is not plainly equal: a row that only the table has ("live"), a group that has
// no row ("log"), and pairs that need a closer look ("both").
const matchSQL = `
INSERT INTO {plan}
SELECT CASE WHEN g.rank IS NULL THEN 'live' WHEN l.src_topic IS NULL THEN 'log' ELSE 'both' END,
       CASE WHEN l.src_topic IS NOT NULL THEN {row:l} END,
       CASE WHEN g.rank IS NOT NULL THEN {row:g} END,
       g.rank, {class}
  FROM dingir.{t} l
  FULL JOIN {groups} g ON {l=g:identity}
  {zone}
 WHERE CASE WHEN g.rank IS NULL THEN {class} IN {left}
            WHEN l.src_topic IS NULL THEN g.judged
            ELSE g.judged AND NOT ({l=g:values} AND (
                 {l=g:source} AND l.{time} = g.{time} OR g.rank = 2 AND {class} IN {believed})) END
`

// matchOrdersSQL is matchSQL for order_events, whose time differs between
// topics. A record of unifyevents is the row's only if the row's position may be
// true: a forged copy of a row must not pass for it.
const matchOrdersSQL = `
INSERT INTO {plan}
SELECT CASE WHEN g.rank IS NULL AND u.rank IS NULL THEN 'live' ELSE 'both' END, {row:l},
       CASE WHEN g.rank IS NOT NULL THEN {row:g} WHEN u.rank IS NOT NULL THEN {row:u} END,
       coalesce(g.rank, u.rank), {class}
  FROM dingir.{t} l
  {zone}
  LEFT JOIN {groups} g ON g.home AND {l=g:identity}
  LEFT JOIN {groups} u ON NOT u.home AND g.rank IS NULL AND {l=u:group} AND ({class} IN {believed} OR {l=u:source} AND NOT u.told)
 WHERE CASE WHEN g.rank IS NOT NULL THEN g.judged AND NOT ({l=g:values} AND {l=g:source})
            WHEN u.rank IS NOT NULL THEN u.judged AND NOT ({l=u:values} AND (
                 {l=u:source} AND l.{time} = u.{time} OR {class} IN {believed}))
            ELSE {class} IN {left} END`

const missingHotSQL = `
INSERT INTO {plan}
SELECT 'log', NULL, {row:g}, g.rank, NULL FROM {groups} g
 WHERE g.home AND g.judged AND NOT EXISTS (SELECT FROM dingir.{t} l WHERE {l=g:identity})`

const missingLogSQL = `
INSERT INTO {plan}
SELECT 'log', NULL, {row:g}, g.rank, NULL FROM {groups} g
 WHERE NOT g.home AND g.judged AND NOT EXISTS (SELECT FROM dingir.{t} l {zone} WHERE {l=g:group} AND ({class} IN {believed} OR {l=g:source}))`

// refineSQL says what each row of a pair should be, and drops the pair where it
// is that already. The row keeps its position where one of its records is there,
// or where nobody can say that none was and none of its records is left over
// that no duplicate accounts for. One that the daemon stored behind what was read
// keeps it too: nothing else accounts for that record.
const refineSQL = `
UPDATE {plan} p
   SET new = x.new, kind = CASE WHEN x.new *= p.old THEN 'both' ELSE 'different' END
  FROM (SELECT p.ctid AS id,
               CASE WHEN s.src_topic IS NOT NULL AND ({home} OR p.rank = 2) THEN {row:s}
                    WHEN p.class = 'later' OR p.rank <> 0 AND (s.src_topic IS NOT NULL OR p.class IN {believed}) THEN {row:kept}
                    ELSE p.new END AS new
          FROM {plan} p
          LEFT JOIN {s} s ON {s=old:source} AND {s=new:group} AND p.class = 'read'
         WHERE p.kind = 'both') x
 WHERE p.ctid = x.id`

// documentedLogSQL: a record of unifyevents has its row where one of the
// platform's documented shape, which says less and has another hash, says the
// same as far as it goes, and has a position that may be its own.
const documentedLogSQL = `
DELETE FROM {plan} p WHERE p.kind = 'log' AND p.rank = 2
   AND (EXISTS (SELECT FROM dingir.{t} l JOIN LATERAL (SELECT (p.new).*) g ON true {zone} WHERE {l=g:documented} AND {class} IN {believed})
     OR EXISTS (SELECT FROM {groups} l JOIN LATERAL (SELECT (p.new).*) g ON true WHERE l.home AND {l=g:documented}))`

// documentedLiveSQL: and so has such a row its record.
const documentedLiveSQL = `
DELETE FROM {plan} p WHERE p.kind = 'live' AND p.class = 'expired'
   AND EXISTS (SELECT FROM {groups} g JOIN LATERAL (SELECT (p.old).*) l ON true WHERE g.rank = 2 AND {l=g:documented})`

// A row that was altered in its identity is found by its position,
const pairsByPosition = `
SELECT DISTINCT ON (gid) lid, gid, new FROM (
	SELECT l.ctid AS lid, g.ctid AS gid, CASE WHEN {home} OR g.rank = 2 THEN {row:s} ELSE g.new END AS new,
	       (l.old).content_hash = s.content_hash AS same_hash, (l.old).{key} = s.{key} AS same_key
	  FROM {plan} l JOIN {s} s ON {s=lold:source}
	  JOIN {plan} g ON g.kind = 'log' AND {s=gnew:group} AND ({twin}) IS NOT DISTINCT FROM CASE WHEN g.rank <> 2 THEN ({twin:g}) END
	 WHERE l.kind = 'live' AND l.class = 'read') x
 ORDER BY gid, same_hash DESC, same_key DESC`

// or by its hash,
const pairsByHash = `
SELECT l.id AS lid, g.id AS gid, CASE WHEN l.class = 'expired' AND g.rank <> 0 THEN NULL ELSE g.new END AS new
  FROM (SELECT p.ctid AS id, p.class, (p.old).content_hash AS hash,
               row_number() OVER (PARTITION BY (p.old).content_hash ORDER BY (p.old).src_offset) AS n FROM {plan} p WHERE p.kind = 'live') l
  JOIN (SELECT p.ctid AS id, p.rank, p.new, (p.new).content_hash AS hash,
               row_number() OVER (PARTITION BY (p.new).content_hash ORDER BY (p.new).src_offset) AS n FROM {plan} p WHERE p.kind = 'log') g
    ON l.hash = g.hash AND l.n = g.n`

// or by all the rest.
const pairsByContent = `
SELECT DISTINCT ON (gid) lid, gid, new FROM (
	SELECT DISTINCT ON (l.ctid) l.ctid AS lid, g.ctid AS gid, CASE WHEN l.class = 'expired' AND g.rank <> 0 THEN NULL ELSE g.new END AS new
	  FROM {plan} l JOIN {plan} g ON md5({old:content}::text) = md5({new:content}::text) AND {old:content} *= {new:content}
	 WHERE l.kind = 'live' AND g.kind = 'log') x
 ORDER BY gid, lid`

// or, where its record was of the documented shape, by what that says. The record has
// expired, so the row becomes that of unifyevents.
const pairsByDocumented = `
SELECT DISTINCT ON (gid) lid, gid, new FROM (
	SELECT DISTINCT ON (p.ctid) p.ctid AS lid, q.ctid AS gid, q.new
	  FROM {plan} p JOIN {plan} q ON q.kind = 'log' AND q.rank = 2
	  JOIN LATERAL (SELECT (p.old).*) l ON true JOIN LATERAL (SELECT (q.new).*) g ON true
	 WHERE p.kind = 'live' AND p.class IN ('read', 'nowhere') AND {l=g:documented}) x
 ORDER BY gid, lid`

// pairSQL takes the pairs found. One without a new row keeps its position, and
// the time that belongs to it.
const pairSQL = `
UPDATE {plan} p SET kind = 'different', new = x.new
  FROM (SELECT l.ctid AS id, coalesce(l.pair, {row:kept}) AS new
          FROM (SELECT l.ctid, l.old, g.new, pairs.new AS pair FROM pairs JOIN {plan} l ON l.ctid = pairs.lid JOIN {plan} g ON g.ctid = pairs.gid) l
         CROSS JOIN LATERAL (SELECT l.old, l.new) p) x
 WHERE p.ctid = x.id`

// surplusSQL judges the rows that nothing accounts for. One at a position that
// was read is surplus, since another record is there, or none. For the others
// their time decides: what the log does not cover stays as it is.
const surplusSQL = `
WITH judged AS (
	SELECT p.ctid AS id FROM {plan} p
	 WHERE p.kind = 'live' AND CASE WHEN p.class = 'read'
	       THEN NOT EXISTS (SELECT FROM {schema}.later w WHERE (w.topic_id, w.partition, w."offset") = ((p.old).src_topic, (p.old).src_partition, (p.old).src_offset))
	       ELSE (p.old).{time} <= $1 AND (p.class = 'nowhere' OR (p.old).{time} <= $2)
	        AND NOT EXISTS (SELECT FROM {schema}.dark d WHERE (p.old).{time} >= d.since AND (p.old).{time} < d.until) END),
gone AS (DELETE FROM {plan} p WHERE kind = 'live' AND NOT EXISTS (SELECT FROM judged WHERE judged.id = p.ctid))
UPDATE {plan} p SET kind = 'surplus' FROM judged WHERE p.ctid = judged.id`

// surplusUnloggedSQL is surplusSQL for a table that unifyevents knows nothing
// of: positions that have expired cannot be judged, and those that never were
// only within the time of what was read.
const surplusUnloggedSQL = `
WITH judged AS (
	SELECT p.ctid AS id FROM {plan} p
	 WHERE p.kind = 'live' AND CASE p.class WHEN 'read'
	       THEN NOT EXISTS (SELECT FROM {schema}.later w WHERE (w.topic_id, w.partition, w."offset") = ((p.old).src_topic, (p.old).src_partition, (p.old).src_offset))
	       WHEN 'nowhere' THEN (p.old).{time} <= $1 AND $2::timestamptz IS NOT NULL AND (p.old).{time} >= (SELECT min({time}) FROM {s})
	       ELSE false END),
gone AS (DELETE FROM {plan} p WHERE kind = 'live' AND NOT EXISTS (SELECT FROM judged WHERE judged.id = p.ctid))
UPDATE {plan} p SET kind = 'surplus' FROM judged WHERE p.ctid = judged.id`

// twiceSQL finds rows that share a position which nobody can look at any more.
// One of them may keep it; the others belong where unifyevents has them.
const twiceSQL = `
INSERT INTO {plan}
SELECT 'different', {row:l}, {row:g}, g.rank, 'expired'
  FROM (SELECT l.*, row_number() OVER (PARTITION BY l.src_topic, l.src_partition, l.src_offset ORDER BY l.{time}, l.{key})
               + (SELECT count(*) FROM {plan} p WHERE p.kind = 'different' AND (p.new).src_topic = l.src_topic
                     AND (p.new).src_partition = l.src_partition AND (p.new).src_offset = l.src_offset) AS n
          FROM dingir.{t} l
         WHERE (l.src_topic, l.src_partition, l.src_offset) IN (
               SELECT l.src_topic, l.src_partition, l.src_offset FROM dingir.{t} l
                 JOIN {schema}.zones z ON z.class = 'expired' AND z.topic_id = l.src_topic AND z.partition = l.src_partition
                      AND l.src_offset >= z.first AND l.src_offset < z.until
                GROUP BY 1, 2, 3 HAVING count(*) > 1)
           AND NOT EXISTS (SELECT FROM {plan} p WHERE {l=old:identity})) l
  JOIN {groups} g ON {l=g:group} AND g.rank = 2 AND g.judged
 WHERE l.n > 1`

// finalSQL lists the positions that will have a row. A surplus row that stays
// has its position if no record is known to be there.
const finalSQL = `
CREATE TABLE {final} AS
SELECT l.src_topic AS topic_id, l.src_partition AS partition, l.src_offset AS "offset"
  FROM dingir.{t} l JOIN (SELECT topic_id, partition, min(first) AS first, max(until) AS until FROM {schema}.zones WHERE '{t}' = ANY (home) GROUP BY 1, 2) z
    ON z.topic_id = l.src_topic AND z.partition = l.src_partition AND l.src_offset >= z.first AND l.src_offset < z.until
 WHERE NOT EXISTS (SELECT FROM {plan} p WHERE {l=old:identity} AND (p.kind = 'different' OR {pruned} OR p.class = 'read'))
 UNION ALL
SELECT (p.new).src_topic, (p.new).src_partition, (p.new).src_offset FROM {plan} p WHERE p.kind IN ('missing', 'different')`
