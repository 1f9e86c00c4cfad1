-- What has left Redis: messages (kind 0, numbered by seq) and changes (kind 1,
-- numbered by version), each as Redis had it. A partition has what was copied in
-- one week, and is dropped as a whole. Of two rows with one number the one of the
-- later week stands.
CREATE TABLE IF NOT EXISTS switchboard_entries (
    conversation text NOT NULL,
    kind smallint NOT NULL,
    number bigint NOT NULL,
    week integer NOT NULL,
    entry bytea NOT NULL,
    PRIMARY KEY (conversation, kind, number, week)
) PARTITION BY LIST (week);

-- How far each conversation has been copied: numbers up to there were given.
CREATE TABLE IF NOT EXISTS switchboard_copied (
    conversation text PRIMARY KEY,
    messages bigint NOT NULL,
    changes bigint NOT NULL,
    week integer NOT NULL
);

-- One row: the incarnation of the store on Redis with which the numbers above were
-- compared.
CREATE TABLE IF NOT EXISTS switchboard_compared (
    id smallint PRIMARY KEY,
    incarnation text NOT NULL
);
