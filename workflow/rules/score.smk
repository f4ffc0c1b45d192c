# Scores that need only the generations and the references; and one rule that publishes every score, whoever made it.


rule score:
    input:
        inputs_of_score,
    output:
        update(touch("results/batches/score-{batch}.done")),
    log:
        "results/logs/score/{batch}.log",
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_after(attempts_of("score", "{batch}"), memory_of_score),
        runtime=minutes_after(attempts_of("score", "{batch}"), minutes_of_score),
    params:
        members=members_of("score"),
    message:
        in_log("score {params.members}")
    shell:
        "exec python -m loragrid score results/batches/score-{wildcards.batch}.json >> {log} 2>&1"


rule publish_score:
    input:
        batch_of_score,
    output:
        update("results/{subject}/eval/{evaluation}/scores/{score}-{key}.json"),
    log:
        "results/logs/publish_score/{subject}/{evaluation}/{score}-{key}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        answers=answers_in_words,
    message:
        in_log("publish the {wildcards.score} of {params.answers}")
    shell:
        "python -m loragrid publish results/{wildcards.subject}/eval/{wildcards.evaluation} {output} > {log} 2>&1"
