"""A map of the house. Arrows point down only; `lint-imports` holds them there.

    entrances     api (JSON, one dialect for each contract) · pages (HTMX) · delivery (/images, /cdn) · health
    the trade     images (properties, galleries, uploads, imports, variants) · listings (homes of a PMS, and the
                  adapters to each) over webhooks (who is told) over accounts (who may what)
    the seam      work (commit or undo; lock)
    ground floor  jobs · storage · remote · pixels · db · sealed · limits · pacing · spool · presign,
                  over errors and config

`app.py` puts the parts together; `workers` runs the jobs that `portal.jobs` names.
"""
