/*
 * statements.h - SQL of schedules and their fires: a part of store/sqlite/statements.h.
 */
#ifndef PL_STORE_SQLITE_SCHEDULE_STATEMENTS_H
#define PL_STORE_SQLITE_SCHEDULE_STATEMENTS_H

/* The columns read_schedule and read_fire of schedule.c read, in their order. */
#define PL__SCHEDULE_COLUMNS                                                                                           \
    "id, name, source, times, work, revision, created, coalesce(next_nominal, 0), coalesce(next_at, 0), "              \
    "coalesce(last_nominal, 0), coalesce(last_actual, 0), paused, note, coalesce(pause_on_failure, 0), failures, "     \
    "fired, caught_up, triggered, backfilled, skipped, skipped_paused, skipped_gap, missed, dropped, "                 \
    "coalesce(last_end, 0), coalesce(last_state, 0)"
#define PL__FIRE_COLUMNS                                                                                               \
    "f.id, f.schedule, coalesce(f.target, 0), f.is_stage, (SELECT s.name FROM main.pl_schedule AS s WHERE s.id = "     \
    "f.schedule), f.nominal, f.at, coalesce(f.previous, 0), "                                                          \
    "coalesce(f.ended, 0), f.reason, f.state, NULL"

#define PL__SCHEDULE_STATEMENTS(X)                                                                                     \
    X(SCHEDULE_BY_NAME, "SELECT " PL__SCHEDULE_COLUMNS " FROM main.pl_schedule WHERE name = ?1")                       \
    X(SCHEDULES, "SELECT " PL__SCHEDULE_COLUMNS " FROM main.pl_schedule WHERE name > ?1 ORDER BY name LIMIT ?2")       \
    X(SCHEDULES_OF_SOURCE, "SELECT " PL__SCHEDULE_COLUMNS " FROM main.pl_schedule INDEXED BY pl_schedule_declared "    \
                           "WHERE source = ?1 AND name > ?2 ORDER BY name LIMIT ?3")                                   \
    X(SCHEDULES_DUE, "SELECT " PL__SCHEDULE_COLUMNS " FROM main.pl_schedule INDEXED BY pl_schedule_due WHERE "         \
                     "next_at <= ?1 AND paused = 0 ORDER BY next_at LIMIT ?2")                                         \
    X(SCHEDULE_NEXT, "SELECT min(next_at) FROM main.pl_schedule INDEXED BY pl_schedule_due WHERE next_at IS NOT NULL " \
                     "AND paused = 0")                                                                                 \
    X(SCHEDULE_REVISION, "SELECT id, revision FROM main.pl_schedule WHERE name = ?1")                                  \
    X(SCHEDULE_BRIEF, "SELECT revision, coalesce(next_nominal, 0), paused, coalesce(pause_on_failure, 0), failures, "  \
                      "fired + caught_up + triggered + backfilled + skipped, name FROM main.pl_schedule WHERE id = "   \
                      "?1")                                                                                            \
    X(SCHEDULE_ADD, "INSERT INTO main.pl_schedule (id, name, source, times, work, revision, created, next_nominal, "   \
                    "next_at, last_nominal, paused, note, pause_on_failure) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, "   \
                    "?8, ?9, ?10, ?11, ?12)")                                                                          \
    X(SCHEDULE_SET,                                                                                                    \
      "UPDATE main.pl_schedule SET source = ?2, times = ?3, work = ?4, revision = revision + 1, "                      \
      "next_nominal = ?5, next_at = ?6, last_nominal = ?7, paused = ?8, note = ?9, pause_on_failure = ?10, "           \
      "failures = CASE WHEN paused > ?8 THEN 0 ELSE failures END, skipped_paused = skipped_paused + ?11 WHERE id = "   \
      "?1")                                                                                                            \
    X(SCHEDULE_FIRED,                                                                                                  \
      "UPDATE main.pl_schedule SET revision = revision + 1, next_nominal = ?2, next_at = ?3, "                         \
      "last_nominal = coalesce(?4, last_nominal), last_actual = coalesce(?5, last_actual), note = ?6 WHERE id = ?1")   \
    X(SCHEDULE_COUNT,                                                                                                  \
      "UPDATE main.pl_schedule SET fired = fired + ?2, caught_up = caught_up + ?3, triggered = triggered + ?4, "       \
      "backfilled = backfilled + ?5, skipped = skipped + ?6, skipped_paused = skipped_paused + ?7, "                   \
      "skipped_gap = skipped_gap + ?8, missed = missed + ?9, dropped = dropped + ?10 WHERE id = ?1")                   \
    X(SCHEDULE_PAUSE, "UPDATE main.pl_schedule SET paused = 1, note = ?2, revision = revision + 1 WHERE id = ?1")      \
    X(SCHEDULE_FINISH, "UPDATE main.pl_schedule SET next_nominal = NULL, next_at = NULL WHERE id = ?1")                \
    X(SCHEDULE_RESULT, "UPDATE main.pl_schedule SET failures = ?2, last_end = ?3, last_state = ?4 WHERE id = ?1")      \
    X(SCHEDULE_DELETE, "DELETE FROM main.pl_schedule WHERE id = ?1")                                                   \
    X(SOURCE_VERSION, "SELECT version FROM main.pl_schedule_source WHERE name = ?1")                                   \
    X(SOURCE_SET, "INSERT INTO main.pl_schedule_source (name, version) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE "  \
                  "SET version = excluded.version")                                                                    \
    X(FIRE_ADD, "INSERT INTO main.pl_fire (id, schedule, nominal, at, previous, reason, state, is_stage, target, "     \
                "ended) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")                                             \
    X(FIRE_OF_TARGET, "SELECT id, schedule, state, unwanted, reason FROM main.pl_fire INDEXED BY pl_fire_target "      \
                      "WHERE target = ?1 AND state < " PL__S_FIRE_DONE)                                                \
    X(FIRES_LIVE, "SELECT id, target, is_stage, state, reason FROM main.pl_fire INDEXED BY pl_fire_live WHERE "        \
                  "schedule = ?1 AND state < " PL__S_FIRE_DONE " ORDER BY state DESC, id")                             \
    X(FIRES_ANY_LIVE,                                                                                                  \
      "SELECT EXISTS (SELECT 1 FROM main.pl_fire INDEXED BY pl_fire_target WHERE state < " PL__S_FIRE_DONE ")")        \
    X(FIRE_END, "UPDATE main.pl_fire SET state = ?2, ended = ?3 WHERE id = ?1")                                        \
    X(FIRE_REOPEN, "UPDATE main.pl_fire SET state = " PL__S_FIRE_STARTED ", ended = NULL, unwanted = 0 WHERE id = ?1") \
    X(FIRES_AFTER, "SELECT id, coalesce(target, 0), state FROM main.pl_fire WHERE id > ?1 ORDER BY id")                \
    X(FIRE_START, "UPDATE main.pl_fire SET state = " PL__S_FIRE_STARTED ", at = ?2 WHERE id = ?1")                     \
    X(FIRE_UNWANTED, "UPDATE main.pl_fire SET unwanted = 1 WHERE id = ?1")                                             \
    X(FIRES_OLD, "SELECT id FROM main.pl_fire INDEXED BY pl_fire_schedule WHERE schedule = ?1 AND id < ?2 AND state "  \
                 "> " PL__S_FIRE_STARTED " ORDER BY id DESC LIMIT 1 OFFSET ?3")                                        \
    X(FIRES_TRIM, "DELETE FROM main.pl_fire INDEXED BY pl_fire_schedule WHERE schedule = ?1 AND id <= ?2 AND state "   \
                  "> " PL__S_FIRE_STARTED " AND (reason <> " PL__S_REASON_BACKFILL " OR at < ?3)")                     \
    X(FIRE_HAS,                                                                                                        \
      "SELECT EXISTS (SELECT 1 FROM main.pl_fire INDEXED BY pl_fire_nominal WHERE schedule = ?1 AND nominal = ?2 AND " \
      "reason <> " PL__S_REASON_TRIGGER " AND state NOT IN (" PL__S_FIRE_SKIPPED ", " PL__S_FIRE_CANCELLED "))")       \
    X(TOLD_ADD, "INSERT INTO main.pl_told (root, name, nominal, at, previous, reason, local_time) VALUES (?1, ?2, "    \
                "?3, ?4, ?5, ?6, ?7)")                                                                                 \
    X(TOLD_AT, "UPDATE main.pl_told SET at = ?2 WHERE root = ?1")                                                      \
    X(TOLD, "SELECT 0, 0, root, 1, name, nominal, at, coalesce(previous, 0), 0, reason, 1, local_time FROM "           \
            "main.pl_told WHERE root = ?1")                                                                            \
    X(SCHEDULE_DROPPED,                                                                                                \
      "UPDATE main.pl_schedule SET dropped = dropped + 1, fired = fired - (?2 = " PL__S_REASON_SCHEDULE                \
      "), caught_up = caught_up - (?2 = " PL__S_REASON_CATCH_UP                                                        \
      "), triggered = triggered - (?2 = " PL__S_REASON_TRIGGER                                                         \
      "), backfilled = backfilled - (?2 = " PL__S_REASON_BACKFILL ") WHERE id = ?1")                                   \
    X(FIRES, "SELECT " PL__FIRE_COLUMNS " FROM main.pl_fire AS f INDEXED BY pl_fire_schedule WHERE f.schedule = ?1 "   \
             "AND f.id < ?2 ORDER BY f.id DESC LIMIT ?3")

#endif
