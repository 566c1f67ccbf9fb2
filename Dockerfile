# The image of oss-dispatcher: a virtual environment on a slim Python, and nothing else of ours.
#   docker build --tag oss-dispatcher .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_CONSTRAINT=constraints.txt
WORKDIR /src
# What it needs comes first: these layers stay when only the program changes.
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY dispatcher/__init__.py dispatcher/__init__.py
RUN python -m venv /opt/oss-dispatcher \
 && /opt/oss-dispatcher/bin/python -m pip install '.[postgres,imm]'
# Compiled here, for good: where it runs, the root file system is read-only. pip stays behind: nothing installs there.
COPY dispatcher dispatcher
RUN /opt/oss-dispatcher/bin/python -m pip install --no-deps --force-reinstall . \
 && /opt/oss-dispatcher/bin/python -m pip uninstall --yes pip setuptools \
 && /opt/oss-dispatcher/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/oss-dispatcher/lib
# An empty directory, to be copied with its owner: the final stage runs no command.
WORKDIR /state

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="oss-dispatcher" \
      org.opencontainers.image.description="Starts IMS workflows for every new object in an OSS or S3 bucket" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/oss-dispatcher /opt/oss-dispatcher
# The ledger lies on a volume: on the container's own layer it would end with the container.
COPY --from=build --chown=65532:65532 /state /var/lib/oss-dispatcher
ENV PATH=/opt/oss-dispatcher/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OSS_DISPATCHER_CONFIG=/etc/oss-dispatcher/oss-dispatcher.yaml \
    STATE_DIRECTORY=/var/lib/oss-dispatcher
# A number, so that a cluster can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/oss-dispatcher
VOLUME ["/var/lib/oss-dispatcher"]
EXPOSE 8080
# Exec form throughout: no shell is needed, and the program is the first process, which signals reach.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["oss-dispatcher", "healthcheck"]
ENTRYPOINT ["oss-dispatcher"]
CMD ["run"]
