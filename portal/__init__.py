"""A map of the house. Arrows point down only; `lint-imports` holds them there.

    entrances     api (JSON, one dialect for each contract) · pages (HTMX) · delivery (/images, /cdn) · health
    the trade     activity (jobs of every kind, as one list), adoption (a property of a listing) and orphans (objects
                  that no row names) over two siblings,
                  images (properties, galleries, uploads, imports, variants) and listings (what a PMS has),
                  over webhooks (who is told) over accounts (who may what)
    the seam      work (commit or undo; lock), dispatch (due rows: leases, fair shares, each result for itself),
                  cursors, search, spool, over garbage (objects to delete) and installation (whose buckets they are)
    ground floor  jobs · storage · remote · pixels · db · sealed · limits · pacing · presign · counters ·
                  statuses (of problems, in HTTP),
                  over errors, config, patience and processes

`app.py` puts the parts together; `workers` runs the jobs that `portal.infra.jobs` names.
"""
