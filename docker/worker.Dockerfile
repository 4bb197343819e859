# The worker: torch and all that trains.
#   docker build -f docker/worker.Dockerfile -t octavo-worker --build-arg TORCH_INDEX=<index of the CPU build> .
ARG BASE_IMAGE=python:3.11.13-slim-bookworm

# The folder docker/wheels, or the build context of this name: docker build --build-context wheels=FOLDER
FROM scratch AS wheels
COPY docker/wheels/ /

FROM ${BASE_IMAGE} AS build
ARG PIP_NO_INDEX=""
ARG PIP_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS=/wheels
WORKDIR /src
COPY pyproject.toml README.md ./
COPY libs/ libs/
COPY services/ services/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    python -m venv /opt/build && /opt/build/bin/pip wheel --quiet --no-deps --wheel-dir /dist .

FROM ${BASE_IMAGE}
# Index of the torch build; empty takes the usual one, which brings CUDA. pytorch.org names the one of the CPU build.
ARG TORCH_INDEX=""
ARG PIP_NO_INDEX=""
ARG PIP_INDEX_URL=""
# Further files of requirements/, such as "s3".
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_FIND_LINKS=/wheels PATH=/opt/octavo/bin:$PATH
RUN groupadd --gid 10001 octavo \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/octavo --shell /usr/sbin/nologin octavo \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/octavo /artifacts \
 && python -m venv /opt/octavo
COPY docker/healthcheck.py /usr/local/lib/healthcheck.py
# Installed here, not copied from a stage: the pinned packages, torch and our code are a layer each, and an upgrade of
# Octavo's code moves the last one alone. Torch comes second, so that its index has to hold torch and nothing else.
COPY requirements/ /opt/requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    for name in worker ${EXTRAS}; do \
      pip install --quiet --no-deps --require-hashes -r /opt/requirements/$name.txt || exit 1; \
    done
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    pip install --quiet -r /opt/requirements/torch.txt ${TORCH_INDEX:+--index-url ${TORCH_INDEX}}
RUN --mount=type=bind,from=build,source=/dist,target=/dist pip install --quiet --no-deps --no-index /dist/*.whl
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib \
    OCTAVO_HOME=/var/lib/octavo OCTAVO_ARTIFACTS_URL=file:///artifacts OCTAVO_ALIVE_FILE=/tmp/alive
USER 10001:10001
WORKDIR /var/lib/octavo
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-I", "-S", "/usr/local/lib/healthcheck.py", "file", "/tmp/alive", "60"]
CMD ["python", "-m", "services.worker"]
