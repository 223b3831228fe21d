"""Map of the portal. A floor imports only from the floors below it; `lint-imports` checks this (see pyproject.toml).

9  workers/                 RQ jobs, each a call of one function below; worker.py resumes the job of a killed worker;
                            the process pool, the schedule, the sweep
8  server.py                gunicorn's settings
   startup.py               what must hold before a web server or a worker starts: the tables, the key
   commands.py              flask --app app …
   embedded/                everything on one machine: Valkey, SeaweedFS, web and workers as child processes
7  demo/                    the first run: a workspace with photos, and a fake PMS
   asgi/                    the front: gunicorn's worker with time-outs, request bodies, threads for the WSGI app
6  api/                     JSON: Property Images API, Manage Property Images, Image CDN, webhooks; OpenAPI, idempotency
   pages/                   HTML with htmx: gallery, properties, listings, jobs, settings
   delivery/                image bytes: /images/ and /cdn/
   health/                  /healthz and /readyz
5  activity/                the jobs page: imports, variants, syncs, copies and deliveries as one list
   properties_from_listings.py  a property created from a listing
   orphans.py               deletes objects that no row refers to
   audit/                   compares the buckets with the inventory, repairs (walk, checks, settling), reports
                            (a channel or an export would be a package on this floor)
4  images/                  properties and their galleries
       gallery order edit   the images of a property and their cover, moves, compound changes
       properties keys      create and change properties; object keys and URLs
       deletion retention   delete and undo; expire what is over
       uploads/             presign, confirm, cancel
       imports/             import by URL: start and progress (lifecycle), which URL is next (selection), fetch
       variants/            large and thumbnail (lifecycle), rendering in a request, renditions on demand
   listings/                homes as property management systems (PMS) describe them
       integrations removal catalogue  accounts, their removal, search
       providers/           one adapter per PMS
       sync/                read a PMS page by page: tasks, passes, upsert, detection of new pictures
       copies/              copy pictures into the CDN bucket: which is next (selection), fetch, results
       substitution counts  our URLs in place of the PMS's; numbers of copied, failed and waiting pictures
3  webhooks/                endpoints, events, deliveries and their retries; which is next (selection)
   accounts/                workspaces, people, API keys, sessions, plans, idempotency records
2  work.py                  a change: rows, objects and jobs, all or nothing; locks
   dispatch/                due rows: leases, fair shares, each task isolated, results recorded
   inventory.py             the objects in the buckets, as rows with their hashes
   garbage.py               objects to delete, as rows; orphans.py above collects them
   installation.py          whether the buckets belong to this installation
   migrations/              Alembic
1  config errors db         settings; the domain's errors; session, column types, SQLite's write lock
   infra/                   buckets (storage, presign, s3_client, s3_breaker), circuit_breaker, redis_client, jobs,
                            disk_cache, disk_space, quick_select, encrypted columns, processes, logs, multipart forms,
                            pagination, search, statuses
   ratelimit/               inbound and outbound limits, counted in Redis or in memory
   remote/                  the only way out to other servers: pinned addresses, size caps, deadlines
   pixels/                  sniff, inspect, render and strip pictures; decoders run in a sandbox

Above all floors, `app.py` assembles them: create_app().
"""
